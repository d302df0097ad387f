"""How often the teacher was wrong: counts that add up, of the teacher's errors alone."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_ray.job.check import FLAGS
from synth_ray.job.load import job_from
from synth_ray.publish.row_view import RowView
from synth_ray.publish.teacher_errors import MAX_CLASSES, TeacherErrors
from synth_ray.recipes.catalogue import find, options_of
from synth_ray.records import STAGED
from tests.rows import staged_row


def prepared() -> Any:
    document = {
        "name": "errors",
        "seeds": "seeds.jsonl",
        "recipe": "vary",
        "models": {"teacher": {"engine": "scripted", "script": {}}},
        "output": {"path": "out"},
    }
    job = job_from(document)
    return SimpleNamespace(job=job, recipe=find("vary"), options=options_of(job.recipe))


PREPARED = prepared()
Answer = tuple[str | None, list[str], str]  # reason, flags, class


def counted(chunks: list[list[Answer]]) -> dict[str, Any]:
    errors = TeacherErrors(PREPARED)
    for chunk in chunks:
        rows = [
            staged_row(number, reason=reason, flags=flags, fields=json.dumps({"label": label}))
            for number, (reason, flags, label) in enumerate(chunk)
        ]
        errors.add(RowView(PREPARED, pa.Table.from_pylist(rows, schema=STAGED)))
    return errors.facts(None, {})


def test_what_scrubbing_flags_is_no_error_of_the_teacher() -> None:
    empty, good = ("empty_completion", ["empty_completion", "too_much_pii"], ""), (None, ["too_much_pii"], "")
    verifier = counted([[empty] * 6 + [good] * 4])["verifier"]
    assert "too_much_pii" not in verifier
    assert {name: (found["wrong"], found["rows"]) for name, found in verifier.items() if found["wrong"]} == {
        "empty_completion": (6, 10)
    }


CHECKED = st.lists(st.sampled_from([*FLAGS[1:], "too_much_pii", "scrub_failed"]), unique=True)
FLAGGED = st.one_of(CHECKED, st.just(["empty_completion", "too_much_pii"]))
REASON = st.sampled_from(
    [None, "no_agreement", "bad_tool_call", "schema_mismatch", "refusal", "echo", "near_duplicate", "moderated"]
)


@settings(max_examples=60, deadline=None)
@given(answers=st.lists(st.tuples(REASON, FLAGGED, st.sampled_from(["a", "b", ""])), min_size=1, max_size=30))
def test_no_check_finds_more_wrong_answers_than_it_sees(answers: list[Answer]) -> None:
    facts = counted([answers])
    rates = [*facts.get("verifier", {}).values(), *facts.get("by_class", {}).values()]
    assert all(0 <= found["wrong"] <= found["rows"] for found in rates)


def test_of_very_many_classes_the_same_are_counted_in_any_order() -> None:
    answers: list[Answer] = [(None, ["echo"] * (n % 3 == 0), f"class {n % 20_500}") for n in range(21_000)]
    by_class = counted([answers])["by_class"]
    assert counted([answers[::-1]])["by_class"] == by_class
    assert len(by_class) == MAX_CLASSES
    assert sum(found["rows"] for found in by_class.values()) == 21_000
    assert sum(found["wrong"] for found in by_class.values()) == 7_000


def test_gold_labels_beyond_those_shown_are_counted_together() -> None:
    gold = {(f"class {n % 7}", f"class {n}"): n + 1 for n in range(300)}
    errors = TeacherErrors(PREPARED)
    errors.add(RowView(PREPARED, pa.Table.from_pylist([staged_row(0)], schema=STAGED)))
    by_class = errors.facts(None, gold)["gold_by_class"]
    assert sum(found["rows"] for found in by_class.values()) == sum(gold.values())
    assert list(by_class)[-1] == "(other)"
