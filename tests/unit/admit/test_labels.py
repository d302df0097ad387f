"""A row that contradicts the label of a kept row is found, whatever the batches, and its witness is the first kept row."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.admit.admission import Admission
from synth_ray.admit.guard import SplitLeakGuard
from synth_ray.admit.kept_rows import KeptRows
from synth_ray.admit.labels import LabelConflicts
from synth_ray.admit.verdicts import Policy
from synth_ray.dedup.compared import compared_text
from synth_ray.dedup.fingerprint import Fingerprinter
from synth_ray.dedup.index import Index
from synth_ray.job.check import Check
from synth_ray.job.dedup import Dedup
from synth_ray.records import STAGED, digest
from tests.rows import staged_row

SECTION = Dedup(ngram=3)
PRINTS = Fingerprinter(SECTION)
NOTHING = STAGED.empty_table()


def labelled(rows: list[tuple[str, str]], first: int = 0, compares: tuple[str, ...] = ("prompt", "completion")) -> pa.Table:
    made = []
    for number, (prompt, label) in enumerate(rows, first):
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": label}]
        made.append(staged_row(number, prompt=prompt, completion=label, messages=turns, split="train", id=digest("row", number)))
    table = pa.Table.from_pylist(made, schema=STAGED)
    return PRINTS.fingerprint_rows(table, compared_text(table, compares))


def admission(label_words: int = 5, **more: Any) -> Admission:
    kept = KeptRows(Index(SECTION), SplitLeakGuard(), LabelConflicts(label_words, PRINTS.digests))
    return Admission(dedup=SECTION, real=NOTHING, kept=kept, **more)


def test_equal_inputs_with_other_labels_are_flagged_and_kept() -> None:
    rows = [
        ("What a day!", "good"),
        ("what  a day", "bad"),
        ("What a day?", "Good."),
        ("Another day", "bad"),
        ("what a day", "so-so"),
    ]
    table, admitting = labelled(rows), admission()
    verdicts = admitting.decide(table)
    assert verdicts["reason"].to_pylist() == [None, None, "exact_duplicate", None, None]
    ids = table["id"].to_pylist()
    assert admitting.contradictory_rows == 2
    assert admitting.first_contradictions == [(ids[1], ids[0]), (ids[4], ids[0])]


def test_the_default_drops_no_contradictory_label_and_a_job_may() -> None:
    assert "contradictory_label" not in Check().drop
    table = labelled([("What a day", "good"), ("what a day", "bad"), ("What a day", "bad"), ("so what", "bad")])
    verdicts = admission(policy=Policy.of_checks(Check(drop=["contradictory_label"]))).decide(table).to_pylist()
    assert [row["reason"] for row in verdicts] == [None, "contradictory_label", "contradictory_label", None]
    assert {row["witness"] for row in verdicts[1:3]} == {verdicts[0]["id"]}


def test_where_inputs_alone_are_compared_the_duplicate_says_that_its_label_differs() -> None:
    admitting = admission(label_words=2**31)
    verdicts = admitting.decide(labelled([("What a day", "good"), ("what a day", "bad")], compares=("prompt",))).to_pylist()
    assert (verdicts[1]["reason"], verdicts[1]["detail"]) == ("exact_duplicate", "contradictory_label")
    assert admitting.contradictory_rows == 1


def test_a_long_answer_is_no_label_and_an_indented_program_is_another_input() -> None:
    code = "for item in items:\n    print(item)\n    print(done)"
    rows = [("Why?", "because of what one says " * 2), ("Why?", "for another reason than that one said here")]
    rows += [(code, "two"), (code.replace("    print(done)", "print(done)"), "one")]
    admitting = admission()
    admitting.decide(labelled(rows))
    assert admitting.contradictory_rows == 0


@pytest.mark.parametrize("drop", [(), ("contradictory_label",)])
@given(
    st.lists(st.tuples(st.sampled_from(["a b", "A, b", "c d", "e"]), st.sampled_from(["x", "y", "z"])), max_size=14),
    st.integers(1, 5),
)
def test_contradictions_do_not_depend_on_the_batches(drop: tuple[str, ...], rows: list[tuple[str, str]], size: int) -> None:
    table = labelled(rows)
    policy = Policy(frozenset(drop), frozenset(drop))
    whole, sliced = admission(policy=policy), admission(policy=policy)
    expected = whole.decide(table)
    parts = [sliced.decide(table.slice(at, size)) for at in range(0, len(rows), size)]
    assert pa.concat_tables([expected.slice(0, 0), *parts]).equals(expected)
    assert sliced.first_contradictions == whole.first_contradictions
    reasons = expected["reason"].to_pylist()
    kept = [(prompt.replace(",", "").lower(), label) for (prompt, label), reason in zip(rows, reasons, strict=True) if not reason]
    if drop:
        assert len(dict(kept)) == len(set(kept)), "no input has two labels among the kept rows"
