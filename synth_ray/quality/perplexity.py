"""How well real text is predicted by a model of words trained on generated text, beside one trained on as much real text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from synth_ray.quality.features import Ragged
from synth_ray.quality.halves import groups_of, half_of_groups, in_order
from synth_ray.quality.intervals import Array, bounds, drawn_counts
from synth_ray.quality.language_model import FIRST_WORD, UNKNOWN, LanguageModel
from synth_ray.quality.sample import MAX_ROWS, SampledRow
from synth_ray.quality.tokens import Vocabulary

Facts = dict[str, Any]

ORDER = 3
MIN_WORDS, MIN_ROWS = 500, 20
_MAX_WORDS = 500_000
_MAX_TESTED = 2_000


def perplexity(generated: Sequence[SampledRow], real: Sequence[SampledRow]) -> Facts:
    """The perplexity per word, ends of texts included, of each side's rows under a model of each side, named test_by_training;
    and `ratio`, of real rows under the model of generated ones to that under the model of real ones, with its interval.

    Both models have the same number of training words and one vocabulary: the words of both trainings. `not_measured` says why
    where there is too little text.
    """
    sides = _halves(in_order(generated, MAX_ROWS), in_order(real, MAX_ROWS))
    words = min(_MAX_WORDS, *(len(side.train.values) for side in sides.values()))
    rows = min(len(side.test.lengths) for side in sides.values())
    if words < MIN_WORDS or rows < MIN_ROWS:
        return {"not_measured": _too_little(sides)}
    trained = {name: _first_words(side.train, words) for name, side in sides.items()}
    tested = {name: _known(side.test, trained) for name, side in sides.items()}
    vocabulary = FIRST_WORD + len(_words_of(trained))
    logs: dict[str, tuple[Array, Array]] = {}
    for by, texts in trained.items():
        model = LanguageModel(_known(texts, trained), vocabulary=vocabulary, order=ORDER)
        logs |= {f"{of}_by_{by}": model.log_probabilities(texts) for of, texts in tested.items()}
    return _facts(logs) | {"order": ORDER, "unit": "per word", "train_words": words, "test_rows": len(tested["real"].lengths)}


@dataclass(frozen=True, slots=True)
class _Side:
    """The rows of one side to train on and to test on, as numbered words."""

    train: Ragged
    test: Ragged


def _halves(generated: list[SampledRow], real: list[SampledRow]) -> dict[str, _Side]:
    """No training row has the origin or the words of a test row, be it of its own side or the other."""
    rows = [SampledRow(row.id, row.text, group=row.group) for row in (*real, *generated)]
    groups = groups_of(rows)
    is_real = np.arange(len(rows)) < len(real)
    half_of = half_of_groups(rows[: len(real)], groups[: len(real)])
    half_of = half_of_groups(rows[len(real) :], groups[len(real) :]) | half_of
    in_test = np.array([half_of[group] for group in groups.tolist()], bool)
    vocabulary = Vocabulary()
    words = vocabulary.numbered([row.text for row in rows])
    some = words.lengths > 0

    def chosen(side: Array, most: int = MAX_ROWS) -> Ragged:
        return words.take(np.flatnonzero(side & some)[:most])

    return {
        name: _Side(chosen(side & ~in_test), chosen(side & in_test, _MAX_TESTED))
        for name, side in (("real", is_real), ("synthetic", ~is_real))
    }


def _too_little(sides: dict[str, _Side]) -> str:
    got = ", ".join(
        f"{len(side.train.values):,} words to train on and {len(side.test.lengths):,} rows to test on of {name} rows"
        for name, side in sides.items()
    )
    return (
        f"wanted at least {MIN_WORDS} words to train on and {MIN_ROWS} rows to test on of each side, got {got}; generate more "
        "rows, or name more real rows in quality.reference"
    )


def _first_words(texts: Ragged, words: int) -> Ragged:
    """The first texts, as many as have that number of words; the last one is cut."""
    whole = int(np.searchsorted(texts.offsets, words))
    offsets = np.minimum(texts.offsets[: whole + 1], words)
    return Ragged(texts.values[:words], offsets)


def _words_of(trained: dict[str, Ragged]) -> Array:
    """The vocabulary: the numbers of the words that either side trains on, ascending."""
    words: Array = np.unique(np.concatenate([texts.values for texts in trained.values()]))
    return words


def _known(texts: Ragged, trained: dict[str, Ragged]) -> Ragged:
    """The texts with the words of the vocabulary numbered from FIRST_WORD on, and all others UNKNOWN."""
    words = _words_of(trained)
    places = np.minimum(np.searchsorted(words, texts.values), len(words) - 1)
    return Ragged(np.where(words[places] == texts.values, places + FIRST_WORD, UNKNOWN), texts.offsets)


def _facts(logs: dict[str, tuple[Array, Array]]) -> Facts:
    facts: Facts = {}
    drawn: dict[str, Array] = {}
    for seed, name in ((6, "real_by_synthetic"), (6, "real_by_real"), (7, "synthetic_by_real"), (7, "synthetic_by_synthetic")):
        sums, words = logs[name]
        counts = drawn_counts(len(words), seed=seed)  # the same rows for both models
        drawn[name] = np.exp(-(sums @ counts) / (words @ counts))
        value = float(np.exp(-sums.sum() / words.sum()))
        low, high = bounds(drawn[name])
        facts[name] = {"value": round(value, 2), "low": round(float(low), 2), "high": round(float(high), 2)}
    low, high = bounds(drawn["real_by_synthetic"] / drawn["real_by_real"])
    (by_synthetic, words), (by_real, _) = logs["real_by_synthetic"], logs["real_by_real"]
    ratio = float(np.exp((by_real.sum() - by_synthetic.sum()) / words.sum()))
    return facts | {"ratio": round(ratio, 4), "ratio_low": round(float(low), 4), "ratio_high": round(float(high), 4)}
