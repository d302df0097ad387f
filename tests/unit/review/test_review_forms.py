from __future__ import annotations

import csv
import io
import json
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.errors import JobError
from synth_ray.review.draw import Drawn, _allocated
from synth_ray.review.estimates import accept_rate, agreement_between
from synth_ray.review.forms import FORMATS, write_form
from synth_ray.review.verdicts import Reviewed, majority, read_verdicts, rejected_ids

TEXT = st.text(max_size=30)
ROWS = st.lists(st.tuples(TEXT, TEXT, st.sampled_from(["accept", "reject", ""])), max_size=8)


def drawn(rows: list[tuple[str, str, str]]) -> list[Drawn]:
    def row(number: int, prompt: str, completion: str) -> dict[str, Any]:
        messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": completion}]
        return {"id": f"{number:032x}", "messages": messages, "prompt": prompt, "completion": completion, "fields": "{}"}

    return [Drawn(("train", "a"), 2.5, row(i, prompt, completion)) for i, (prompt, completion, _) in enumerate(rows)]


def filled_in(kind: str, files: dict[str, bytes], verdicts: list[str]) -> bytes:
    """The form as a reviewer would return it."""
    if kind == "csv":
        rows = list(csv.reader(io.StringIO(files[""].decode("utf-8-sig"), newline="")))
        place = rows[0].index("verdict")
        for row, verdict in zip(rows[1:], verdicts, strict=True):
            row[place] = verdict
        out = io.StringIO(newline="")
        csv.writer(out).writerows(rows)
        return out.getvalue().encode()
    if kind == "jsonl":
        lines = [json.loads(line) | {"verdict": v} for line, v in zip(files[""].decode().split("\n"), verdicts, strict=False)]
        return "\n".join(map(json.dumps, lines)).encode()
    records = json.loads(files["records.json"])
    for record, verdict in zip(records, verdicts, strict=True):
        record["responses"] = {"verdict": [{"value": verdict, "user_id": "1"}]} if verdict else {}
    return json.dumps(records).encode()


@pytest.mark.parametrize("kind", FORMATS)
@given(rows=ROWS)
def test_a_form_of_any_text_comes_back_with_its_verdicts(kind: str, rows: list[tuple[str, str, str]]) -> None:
    verdicts = [verdict for _, _, verdict in rows]
    returned = filled_in(kind, write_form(drawn(rows), kind), verdicts)
    name = "form.csv" if kind == "csv" else "form.json"
    read = read_verdicts(io.BytesIO(returned), name=name)
    wanted = [Reviewed(f"{i:032x}", v == "accept", 2.5) for i, v in enumerate(verdicts) if v]
    assert read == ([wanted] if wanted else [])


def test_reviewers_of_one_file_are_told_apart() -> None:
    given = [("one", "accept", "ann"), ("one", "reject", "ben"), ("two", "accept", "ann"), ("two", "accept", "ben")]
    records = [
        {
            "id": name,
            "metadata": "none",
            "responses": {"verdict": [{"value": value, "user_id": user} for row, value, user in given if row == name]},
        }
        for name in ("one", "two")
    ]
    read = read_verdicts(io.BytesIO(json.dumps(records).encode()), name="records.json")
    agreement = agreement_between(read)
    assert [len(reviewed) for reviewed in read] == [2, 2] and agreement is not None and agreement.observed == 0.5


@given(rows=ROWS)
def test_no_cell_of_a_form_is_a_formula(rows: list[tuple[str, str, str]]) -> None:
    lines = csv.reader(io.StringIO(write_form(drawn(rows), "csv")[""].decode("utf-8-sig"), newline=""))
    assert not [cell for line in lines for cell in line if cell[:1] in set("=+-@\t\r") and cell[:1]]


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("a.csv", "id,verdict\nx,maybe\n", r"a\.csv:2: wanted accept or reject"),
        ("a.csv", "name,verdict\nx,accept\n", r"a\.csv:2: wanted a row with its `id`"),
        ("a.jsonl", '{"id": "x", "verdict": "accept"}\n{"id": ', "wanted a form"),
        ("a.jsonl", "[1, 2]", r"a\.jsonl:1: wanted a row"),
        ("a.jsonl", '{"id": 7, "verdict": "accept"}', r"a\.jsonl:1: wanted a row"),
    ],
)
def test_a_form_that_cannot_be_read_is_an_error_with_its_line(name: str, content: str, wanted: str) -> None:
    with pytest.raises(JobError, match=wanted):
        read_verdicts(io.BytesIO(content.encode()), name=name)


@given(st.dictionaries(st.tuples(st.sampled_from(["train", "test"]), TEXT), st.integers(1, 500), min_size=1), st.integers(1, 400))
def test_every_stratum_is_drawn_in_proportion_and_never_more_than_it_has(sizes: dict[Any, int], n: int) -> None:
    chosen = _allocated(sizes, n)
    assert sum(chosen.values()) == min(n, sum(sizes.values()))
    assert all(0 <= chosen[stratum] <= size for stratum, size in sizes.items())
    if n >= len(sizes):
        assert min(chosen.values()) >= 1


def test_the_interval_covers_the_rate_of_a_dataset_with_unequal_strata() -> None:
    draw, covered = random.Random(5), 0
    sizes, good = {"a": 9_000, "b": 1_000, "c": 60}, {"a": 0.9, "b": 0.5, "c": 0.1}
    truth = sum(sizes[s] * good[s] for s in sizes) / sum(sizes.values())
    for _ in range(400):
        n = {"a": 100, "b": 60, "c": 30}
        rows = [Reviewed(f"{s}{i}", draw.random() < good[s], sizes[s] / n[s]) for s in sizes for i in range(n[s])]
        rate = accept_rate(rows)
        assert rate is not None
        covered += rate.low <= truth <= rate.high
    assert covered / 400 > 0.92


@given(st.lists(st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), unique_by=lambda v: v[0]), max_size=4))
def test_most_reviewers_decide_and_ties_decide_nothing(reviews: list[list[tuple[str, bool]]]) -> None:
    read = [[Reviewed(name, good) for name, good in reviewed] for reviewed in reviews]
    votes = Counter({name: 0 for reviewed in reviews for name, _ in reviewed})
    for reviewed in reviews:
        votes.update({name: 1 if good else -1 for name, good in reviewed})
    assert {name: verdict.good for name, verdict in majority(read).items()} == {n: v > 0 for n, v in votes.items() if v}
    assert rejected_ids(read) == {name for name, vote in votes.items() if vote < 0}
    both = sum(len({n for n, _ in a} & {n for n, _ in b}) for i, a in enumerate(reviews) for b in reviews[i + 1 :])
    agreement = agreement_between(read)
    assert (agreement.n if agreement is not None else 0) == both
