"""Labels that are probably wrong, by confident learning (Northcutt, Jiang and Chuang, 2021, JAIR 70, arXiv 1911.00068).

Every row is classified by a model that did not see it, nor a row of its origin. A class's threshold is the mean probability that
its own rows have for it; a row with another label above that threshold counts as one of that class. As many rows as these counts
say are suspects: those most surely of the other class ("prune by noise rate"). Only rows for which the other class is also
SURE times as likely as the label are kept, and of classes that the model recognises at all: with few rows a class, the counts
alone name more right labels than wrong ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from typing import Any

import numpy as np

from synth_ray.quality.classifier import TextClassifier, affordable_rows
from synth_ray.quality.halves import groups_of, in_order
from synth_ray.quality.intervals import Array
from synth_ray.quality.sample import MAX_ROWS, SampledRow
from synth_ray.verify.intervals import wilson

Facts = dict[str, Any]

MIN_ROWS = 100
FOLDS = 5
SURE = 10.0
MIN_SKILL = 0.2
_MAX_CLASSES = 300
_LISTED = 50


def label_noise(rows: Sequence[SampledRow]) -> Facts:
    """The share of rows whose label is suspect with its interval, by class, and the surest suspects first.

    Classes with fewer than FOLDS rows, or with rows of one origin only, are left out. `not_measured` says why where there are too
    few rows or classes.
    """
    measured, folds = _measurable([row for row in in_order(rows, MAX_ROWS) if row.label])
    classes = sorted({row.label for row in measured})
    if len(classes) < 2 or len(measured) < MIN_ROWS:
        return {
            "not_measured": f"wanted at least {MIN_ROWS} rows of 2 classes with {FOLDS} rows each, not all of one origin, got "
            f"{len(measured):,} of {len(classes)}; generate more rows from more seeds, or name the column with the class in "
            "quality.label"
        }
    classifier = TextClassifier(measured, classes)
    probabilities = _out_of_sample(classifier, folds)
    if (skill := skill_of(classifier.labels, probabilities)) < MIN_SKILL:
        return {
            "not_measured": f"wanted classes that a classifier of words tells apart, by at least {MIN_SKILL} on a scale from 0, "
            f"chance, to 1, got {max(0.0, skill):.2f}; generate more rows a class, or name another column in quality.label"
        }
    return _facts(measured, classes, suspects_of(classifier.labels, probabilities), probabilities)


def _measurable(labelled: Sequence[SampledRow]) -> tuple[list[SampledRow], Array]:
    """The rows that are measured and their folds: of classes with FOLDS rows or more in two folds or more. Of a class in one fold
    only, no row can be tested: no model that did not see the row saw its class.
    """
    large = _large_classes(labelled)
    affordable = _of_classes(labelled, large)[: affordable_rows(len(large))]
    rows = _of_classes(affordable, _large_classes(affordable))
    folds = _folds(rows)
    spread = Counter(label for label, _ in {(row.label, fold) for row, fold in zip(rows, folds.tolist(), strict=True)})
    several = {label for label, n in spread.items() if n > 1}
    return _of_classes(rows, several), folds[np.array([row.label in several for row in rows], bool)]


def _large_classes(rows: Sequence[SampledRow]) -> set[str]:
    """The most frequent classes that have FOLDS rows or more."""
    counts = Counter(row.label for row in rows)
    first = sorted(counts, key=lambda name: (-counts[name], name))[:_MAX_CLASSES]
    return {name for name in first if counts[name] >= FOLDS}


def _of_classes(rows: Sequence[SampledRow], classes: Set[str]) -> list[SampledRow]:
    return [row for row in rows if row.label in classes]


def _folds(rows: Sequence[SampledRow]) -> Array:
    """The fold of each row: groups whole, and each class spread evenly over the folds as far as its groups allow."""
    groups = groups_of(rows)
    fold_of: dict[int, int] = {}
    held: dict[str, Counter[int]] = {}
    for row, group in zip(rows, groups.tolist(), strict=True):
        own = held.setdefault(row.label, Counter())
        fold = fold_of.setdefault(group, min(range(FOLDS), key=lambda fold: (own[fold], fold)))
        own[fold] += 1
    return np.array([fold_of[group] for group in groups.tolist()])


def _out_of_sample(classifier: TextClassifier, folds: Array) -> Array:
    """rows×classes. Every class has rows in two folds or more, so that each model saw all classes."""
    probabilities = np.zeros((len(folds), int(classifier.labels.max()) + 1))
    for fold in np.unique(folds):
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        probabilities[test] = classifier.probabilities(train, test)
    return probabilities


def skill_of(labels: Array, probabilities: Array) -> float:
    """The mean share of rows of a class that are recognised, so that naming classes by chance gives 0 and no error 1."""
    recognised = _recognised(labels, probabilities)
    chance = 1 / len(recognised)
    return float((recognised.mean() - chance) / (1 - chance))


def _recognised(labels: Array, probabilities: Array) -> Array:
    """The share of the rows of each class that are recognised."""
    hits = np.argmax(probabilities, axis=1) == labels
    shares: Array = np.bincount(labels, hits, minlength=probabilities.shape[1]) / np.bincount(labels)
    return shares


def suspects_of(labels: Array, probabilities: Array) -> Array:
    """The class that each row probably is of, where that is another than its label; else -1. `probabilities` are out of sample,
    rows×classes; every class has a row.
    """
    rows, classes = np.arange(len(labels)), probabilities.shape[1]
    sizes = np.bincount(labels, minlength=classes)
    own = probabilities[rows, labels]
    thresholds = np.bincount(labels, own, minlength=classes) / sizes
    likely = np.argmax(np.where(probabilities >= thresholds, probabilities, -1.0), axis=1)
    is_confident = probabilities[rows, likely] >= thresholds[likely]
    confident = np.zeros((classes, classes))
    np.add.at(confident, (labels[is_confident], likely[is_confident]), 1)
    joint = confident * (sizes / np.maximum(confident.sum(axis=1), 1))[:, None]
    best = np.argmax(probabilities, axis=1)
    found = np.full(len(labels), -1)
    for given, other in zip(*np.nonzero(np.where(np.eye(classes, dtype=bool), 0, np.round(joint))), strict=True):
        among = np.flatnonzero((labels == given) & (best == other))
        margin = probabilities[among, other] - own[among]
        found[among[np.argsort(-margin, kind="stable")[: int(np.round(joint[given, other]))]]] = other
    is_sure = probabilities[rows, found] >= SURE * own
    found[~is_sure | (_recognised(labels, probabilities) < MIN_SKILL)[labels]] = -1
    return found


def _facts(rows: Sequence[SampledRow], classes: Sequence[str], suspects: Array, probabilities: Array) -> Facts:
    found = np.flatnonzero(suspects >= 0).tolist()
    low, high = wilson(len(found), len(rows))
    by_class, wrong = Counter(row.label for row in rows), Counter(rows[i].label for i in found)
    confidence = {i: float(probabilities[i, suspects[i]]) for i in found}
    first = sorted(found, key=lambda i: (-confidence[i], rows[i].id))[:_LISTED]
    return {
        "rows": len(rows),
        "suspects": len(found),
        "share": round(len(found) / len(rows), 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "by_class": {name: {"rows": by_class[name], "suspects": wrong[name]} for name in classes},
        "first": [
            {
                "id": rows[i].id,
                "label": rows[i].label,
                "likely": classes[suspects[i]],
                "confidence": round(confidence[i], 4),
            }
            for i in first
        ],
    }
