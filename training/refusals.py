"""Trains the model that tells refusals (`synth_ray/check/refusal.py`) and writes its weights.

    PYTHONPATH=training python -m training.refusals

`training/refusals.jsonl` has the texts with their labels. Logistic regression with a quadratic penalty (scipy's L-BFGS), rounded to
one byte a weight, with a margin towards precision: a good row that is lost is worse than a refusal that is kept. `report` prints a
ten-fold cross-validation; many of the texts were written to mislead, so it is lower than on texts as they come.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
from grammar import support
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

from synth_ray.check.opening_kernel import BUCKETS
from synth_ray.check.refusal import WEIGHTS, opening_of, terms_in

TEXTS = Path(__file__).parent / "refusals.jsonl"
PENALTY = 0.01
FOLDS = 10
ORDINARY = 700
MARGIN = 0.45
"""Added to the bias: it ends half of the false alarms, and one in fifty finds."""


def main() -> None:
    rows = [json.loads(line) for line in TEXTS.read_text("utf-8").splitlines()] + ordinary_texts()
    terms, labels = matrix_of(row["text"] for row in rows), np.array([row["refusal"] for row in rows])
    folds = np.arange(len(rows)) % FOLDS
    scores = np.zeros(len(rows))
    for fold in range(FOLDS):
        weights, bias = fit(terms[folds != fold], labels[folds != fold])
        scores[folds == fold] = terms[folds == fold] @ weights + bias
    report(scores, labels)
    weights, bias = fit(terms, labels)
    scale = np.abs(weights).max() / 127
    np.savez_compressed(WEIGHTS, weights=np.round(weights / scale).astype(np.int8), scale=scale, bias=MARGIN - bias)
    print(f"{len(rows):,} texts, {labels.sum():,} refusals; {WEIGHTS.name}: {WEIGHTS.stat().st_size:,} bytes")


def ordinary_texts() -> list[dict[str, Any]]:
    """What customers and helpers write, from the tiny teacher's grammar: most texts are of this kind, and refuse nothing."""
    draw = random.Random(5)
    messages = (support(draw) for _ in range(ORDINARY))
    return [{"refusal": False, "text": text} for message in messages for text in (message.prompt, message.reply)]


def matrix_of(texts: Any) -> csr_matrix:
    """One row a text: each of its terms weighs one by the root of their number."""
    terms = [terms_in(opening_of(text)) for text in texts]
    values = np.concatenate([np.full(len(t), len(t) ** -0.5) for t in terms])
    ends = np.cumsum([0, *map(len, terms)])
    return csr_matrix((values, np.concatenate(terms).astype(np.int64), ends), shape=(len(terms), BUCKETS))


def fit(terms: csr_matrix, labels: Any) -> tuple[Any, float]:
    signs = np.where(labels, 1.0, -1.0)

    def loss(parameters: Any) -> tuple[float, Any]:
        weights, bias = parameters[:-1], parameters[-1]
        margins = signs * (terms @ weights + bias)
        slopes = -signs / (1 + np.exp(np.minimum(margins, 500)))
        value = np.logaddexp(0, -margins).sum() + PENALTY / 2 * weights @ weights
        return value, np.concatenate([terms.T @ slopes + PENALTY * weights, [slopes.sum()]])

    found = minimize(loss, np.zeros(BUCKETS + 1), jac=True, method="L-BFGS-B", options={"maxiter": 400}).x
    return found[:-1], float(found[-1])


def report(scores: Any, labels: Any) -> None:
    for margin in (0.0, MARGIN, 0.6, 0.9):
        found = scores > margin
        precision, recall = labels[found].mean(), found[labels].mean()
        print(f"margin {margin:.1f}: precision {precision:.3f}, recall {recall:.3f} ({FOLDS} folds)")


if __name__ == "__main__":
    main()
