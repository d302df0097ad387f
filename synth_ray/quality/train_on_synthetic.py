"""Train on synthetic rows, test on real ones (TSTR; Esteban, Hyland and Rätsch, 2017, arXiv 1706.02633).

A classifier trained on generated rows alone, one on real rows, and one on both are tested on the same real rows. No training row
has the origin or the words of a test row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from synth_ray.quality.classifier import TextClassifier, affordable_rows
from synth_ray.quality.f1 import Scores, f1_bounds, scores_of, with_interval
from synth_ray.quality.halves import groups_of, half_of_groups, in_order
from synth_ray.quality.intervals import Array, drawn_counts
from synth_ray.quality.sample import MAX_ROWS, SampledRow

Facts = dict[str, Any]

MIN_ROWS = 20
MAX_CLASSES = 300
_MAX_TESTED = 2_000
_FEWEST_ON_CURVE = 10
_NAMED = 20


@dataclass(frozen=True, slots=True)
class _Trial:
    """The rows of a comparison, as indices into `rows`, which are of at most MAX_CLASSES `classes`. `tested` are those that have
    test rows.
    """

    rows: list[SampledRow]
    classes: list[str]
    tested: list[str]
    synthetic: Array
    real: Array
    test: Array


def train_on_synthetic(generated: Sequence[SampledRow], real: Sequence[SampledRow]) -> Facts:
    """The macro F1 on real rows of classifiers trained on generated rows, on real ones and on both; per class, by the number of
    training rows, and of naming the most frequent class. `gain` is what the generated rows add to the real ones.

    `not_measured` says why where rows, classes or labels are too few.
    """
    labelled = [[row for row in in_order(side, MAX_ROWS) if row.label] for side in (generated, real)]
    if missing := _missing_labels(*map(len, (generated, real)), *map(len, labelled)):
        return {"not_measured": missing}
    trial = _divided(*labelled)
    if missing := _too_few(trial):
        return {"not_measured": missing}
    return _Comparison(trial).facts() | _one_sided(*labelled, trial=trial)


def _missing_labels(generated: int, real: int, labelled: int, labelled_real: int) -> str:
    if not labelled:
        return f"wanted a class for the generated rows, got none for {generated:,}; name their column in quality.label"
    if not labelled_real:
        return (
            f"wanted real rows with a class, got none among {real:,}; name labelled rows in quality.reference, or their column "
            "in quality.label"
        )
    return ""


def _divided(generated: list[SampledRow], real: list[SampledRow]) -> _Trial:
    rows = [*real, *generated]
    groups = groups_of(rows)
    is_tested = half_of_groups(real, groups[: len(real)])
    in_test = np.array([is_tested.get(group, False) for group in groups.tolist()], bool)
    is_real = np.arange(len(rows)) < len(real)
    tested = set(_most_frequent([rows[i] for i in np.flatnonzero(is_real & in_test)], MAX_CLASSES))
    others = _most_frequent([row for row in rows if row.label not in tested], MAX_CLASSES - len(tested))
    compared = tested.union(others)
    use = np.flatnonzero([row.label in compared for row in rows])
    rows, in_test, is_real = [rows[i] for i in use], in_test[use], is_real[use]
    is_tested_class = np.array([row.label in tested for row in rows], bool)
    most = affordable_rows(len(compared))
    return _Trial(
        rows=rows,
        classes=sorted(compared),
        tested=sorted(tested),
        synthetic=np.flatnonzero(~is_real & ~in_test)[:most],
        real=np.flatnonzero(is_real & ~in_test)[:most],
        test=np.flatnonzero(is_real & in_test & is_tested_class)[:_MAX_TESTED],
    )


def _most_frequent(rows: Sequence[SampledRow], most: int) -> list[str]:
    """The classes with the most rows, of equal ones the first by name."""
    counts = Counter(row.label for row in rows)
    return sorted(counts, key=lambda name: (-counts[name], name))[:most]


def _too_few(trial: _Trial) -> str:
    if len(trial.classes) < 2:
        return f"wanted at least 2 classes, got {len(trial.classes)}; quality.label names the column with the class"
    if len(trial.tested) < 2 or len(trial.test) < MIN_ROWS:
        return (
            f"wanted at least {MIN_ROWS} real rows to test on, of 2 classes with two or more real rows each, got "
            f"{len(trial.test):,} rows of {len(trial.tested)} classes; name more real rows in quality.reference"
        )
    if len(trial.synthetic) < MIN_ROWS:
        return (
            f"wanted at least {MIN_ROWS} generated rows with a class that do not come from a real test row, got "
            f"{len(trial.synthetic):,}; generate more rows, or name other real rows in quality.reference"
        )
    return ""


def _one_sided(generated: list[SampledRow], real: list[SampledRow], *, trial: _Trial) -> Facts:
    """Classes that cannot be compared: of one side only, or with too few real rows to be tested among so many classes."""
    ours, theirs = ({row.label for row in side} for side in (generated, real))
    named = {
        "only_synthetic": sorted(ours - theirs),
        "only_real": sorted(theirs - ours),
        "not_tested": sorted((ours & theirs) - set(trial.tested)),
    }
    return {name: {"classes": len(found), "first": found[:_NAMED]} for name, found in named.items() if found}


class _Comparison:
    """Trains each classifier once, and scores all of them on the same test rows and the same bootstrap draws."""

    def __init__(self, trial: _Trial) -> None:
        self._trial = trial
        self._classifier = TextClassifier(trial.rows, trial.classes)
        self._true = self._classifier.labels[trial.test]
        self._tested = np.unique(self._true)
        self._drawn = drawn_counts(len(trial.test), seed=5)
        self._predicted: dict[bytes, Array] = {}

    def facts(self) -> Facts:
        trial = self._trial
        arms = {"synthetic": trial.synthetic, "real": trial.real, "both": np.concatenate([trial.real, trial.synthetic])}
        scores = {name: self._score(self._predict(train)) for name, train in arms.items()}
        summaries = {name: _summary(*scores[name]) | {"train_rows": len(train)} for name, train in arms.items()}
        gains = [both.macro - real.macro for both, real in zip(scores["both"], scores["real"], strict=True)]
        return {
            **summaries["synthetic"],
            "test_rows": len(trial.test),
            "real": summaries["real"],
            "both": summaries["both"],
            "gain": with_interval("value", gains[0], gains[1], lowest=-1.0),
            "baseline": self._baseline(),
            "classes": self._classes(scores["synthetic"][0], scores["real"][0]),
            "curve": self._curve(),
        }

    def _predict(self, train: Array) -> Array:
        key = train.tobytes()
        if key not in self._predicted:
            self._predicted[key] = self._classifier.predicted(train, self._trial.test)
        return self._predicted[key]

    def _score(self, predicted: Array) -> tuple[Scores, Scores]:
        """The scores on the test rows, and on each bootstrap draw of them."""
        drawn = scores_of(self._true, predicted, self._drawn, classes=self._tested)
        return self._observed(predicted), drawn

    def _observed(self, predicted: Array) -> Scores:
        return scores_of(self._true, predicted, np.ones((len(self._true), 1)), classes=self._tested)

    def _baseline(self) -> Facts:
        trained = self._classifier.labels[self._trial.real]
        commonest = int(np.argmax(np.bincount(trained)))
        return _summary(*self._score(np.full(len(self._true), commonest))) | {"class": self._trial.classes[commonest]}

    def _classes(self, synthetic: Scores, real: Scores) -> list[Facts]:
        """Each tested class, the worst first."""
        intervals = f1_bounds(synthetic)
        facts = [
            {
                "class": self._trial.classes[number],
                "rows_test": int(synthetic.support[i, 0]),
                "f1": round(float(synthetic.f1[i, 0]), 4),
                **intervals[i],
                "f1_real": round(float(real.f1[i, 0]), 4),
            }
            for i, number in enumerate(self._tested)
        ]
        return sorted(facts, key=lambda fact: (fact["f1"], fact["class"]))

    def _curve(self) -> list[Facts]:
        sides = {"synthetic": self._trial.synthetic, "real": self._trial.real}
        fewer, more = sorted(map(len, sides.values()))
        sizes = sorted({more, *(fewer // 2**k for k in range(4) if k == 0 or fewer // 2**k >= _FEWEST_ON_CURVE)})
        return [{"train_rows": size} | {name: self._at_size(rows, size) for name, rows in sides.items()} for size in sizes]

    def _at_size(self, rows: Array, size: int) -> float | None:
        """The macro F1 after training on the first rows; None where there are not so many."""
        if size > len(rows):
            return None
        return round(float(self._observed(self._predict(rows[:size])).macro[0]), 4)


def _summary(observed: Scores, drawn: Scores) -> Facts:
    return with_interval("macro_f1", observed.macro, drawn.macro)
