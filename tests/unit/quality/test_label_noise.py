"""Planted wrong labels among real texts are found and right ones left alone; thresholds and counts are those of the method."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from synth_ray.quality.label_noise import label_noise, suspects_of
from synth_ray.quality.sample import SampledRow
from tests.docstrings import PACKAGES, labelled_docstrings

CONFUSABLE = {"numpy": "scipy", "scipy": "sklearn", "sklearn": "scipy", "polars": "pyarrow", "pyarrow": "polars"}


@pytest.fixture(scope="module")
def rows() -> list[SampledRow]:
    return list(labelled_docstrings(150))


def with_flips(rows: list[SampledRow], share: float, *, to: dict[str, str]) -> tuple[list[SampledRow], set[str]]:
    """The rows, a share of them with another label: that of `to`, or a random one; and the ids of these."""
    draw, wrong = random.Random(5), {}
    for row in rows:
        if draw.random() < share:
            wrong[row.id] = to.get(row.label) or draw.choice([name for name in PACKAGES if name != row.label])
    return [replace(row, label=wrong.get(row.id, row.label)) for row in rows], set(wrong)


@pytest.mark.parametrize(
    ("share", "to", "precision", "recall"),
    [(0.05, {}, 0.5, 0.25), (0.1, {}, 0.6, 0.3), (0.2, {}, 0.7, 0.3), (0.1, CONFUSABLE, 0.6, 0.2)],
)
def test_planted_wrong_labels_are_found(
    rows: list[SampledRow], share: float, to: dict[str, str], precision: float, recall: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few of the rows that were not flipped are suspects: some docstrings could be of any package."""
    monkeypatch.setattr("synth_ray.quality.label_noise._LISTED", len(rows))
    noisy, wrong = with_flips(rows, share, to=to)
    facts = label_noise(noisy)
    found = [suspect["id"] in wrong for suspect in facts["first"]]
    assert len(found) == facts["suspects"] == sum(counts["suspects"] for counts in facts["by_class"].values())
    assert sum(found) / len(found) >= precision
    assert sum(found) / len(wrong) >= recall
    assert facts["low"] < facts["share"] < facts["high"]
    assert label_noise(rows)["share"] < 0.03


def test_the_surest_suspects_come_first(rows: list[SampledRow]) -> None:
    noisy, wrong = with_flips(rows, 0.1, to={})
    first = label_noise(noisy)["first"]
    assert len(first) == 50
    assert sum(suspect["id"] in wrong for suspect in first[:25]) >= 20
    assert [s["confidence"] for s in first] == sorted((s["confidence"] for s in first), reverse=True)
    labels = {row.id: row.label for row in noisy}
    assert all(suspect["label"] == labels[suspect["id"]] != suspect["likely"] for suspect in first)


def test_suspects_are_those_of_confident_learning() -> None:
    """By hand: class 0 has the threshold 0.62, class 1 0.7. Rows 3 and 4 count as 1 labelled 0: of 5 confident rows labelled 0,
    two, and both are pruned; but for row 4 the other class is not ten times as likely.
    """
    first = np.array([0.99, 0.97, 0.98, 0.02, 0.14, 0.05, 0.02, 0.03, 0.9])
    labels = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1])
    assert suspects_of(labels, np.column_stack([first, 1 - first])).tolist() == [-1, -1, -1, 1, -1, -1, -1, -1, -1]


def test_rows_of_one_origin_are_never_in_two_folds(rows: list[SampledRow]) -> None:
    """Every row twice, with the same wrong label where it has one: the copy must not vouch for it."""
    noisy, wrong = with_flips(rows, 0.1, to={})
    twice = noisy + [replace(row, id=row.id[::-1], text=f"{row.text} twice", group=row.id) for row in noisy]
    first = label_noise(twice)["first"]
    assert sum(suspect["id"] in wrong or suspect["id"][::-1] in wrong for suspect in first) >= 35
    apart = label_noise([replace(row, group=row.id) for row in twice])
    assert apart["suspects"] < label_noise(twice)["suspects"]


def test_what_tells_nothing_names_no_suspect(rows: list[SampledRow]) -> None:
    """Labels by chance: no classifier is better than chance, so its doubts are none."""
    labels = random.Random(2).choices(PACKAGES, k=len(rows))
    facts = label_noise([replace(row, label=label) for row, label in zip(rows, labels, strict=True)])
    assert "tells apart" in facts["not_measured"]
    assert "100 rows of 2 classes" in label_noise(rows[:60])["not_measured"]
    assert "100 rows of 2 classes" in label_noise([replace(row, label="one") for row in rows])["not_measured"]
    assert "100 rows of 2 classes" in label_noise([replace(row, label=row.id) for row in rows])["not_measured"]


@pytest.mark.parametrize("places", [range(3_000, 4_000), range(0, 4_000, 4)], ids=["no tail row is measured", "a few are"])
def test_a_class_without_rows_enough_among_those_measured_is_left_out(places: range) -> None:
    """Of 202 classes, 2,000 rows are measured; 200 classes have five rows each among 4,000."""
    labels = ["north" if i % 2 else "south" for i in range(4_000)]
    for k, place in enumerate(places):
        labels[place] = f"rare {k % 200:03}"
    rows = [SampledRow(f"{i:032x}", f"{label} road {i}", label) for i, label in enumerate(labels)]
    facts = label_noise(rows)
    sizes = [counts["rows"] for counts in facts["by_class"].values()]
    assert {"north", "south"} <= set(facts["by_class"])
    assert min(sizes) >= 5
    assert sum(sizes) == facts["rows"] <= 2_020
    assert 0 <= facts["low"] <= facts["share"] <= facts["high"] <= 1


def test_rows_that_no_model_can_test_are_not_right(rows: list[SampledRow]) -> None:
    """Labels by chance, all rows of one seed: nothing was tested. One class of one seed: the others are."""
    labels = random.Random(3).choices(PACKAGES, k=len(rows))
    of_one = [replace(row, label=label, group="seed") for row, label in zip(rows, labels, strict=True)]
    assert "got 0 of 0; generate more rows from more seeds" in label_noise(of_one)["not_measured"]
    facts = label_noise([replace(row, group="seed") if row.label == "numpy" else row for row in rows])
    assert set(facts["by_class"]) == set(PACKAGES) - {"numpy"}
    assert facts["rows"] == sum(row.label != "numpy" for row in rows)
