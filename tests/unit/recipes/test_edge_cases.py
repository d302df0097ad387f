"""`edge_cases`: rows for evaluation only, and only beside real evaluation rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import synth_ray
from synth_ray.ask.teacher import Teacher
from synth_ray.errors import JobError
from synth_ray.records import Reason
from tests.unit.recipes.fake_teacher import replying, run_recipe, seed

CASE = json.dumps({"input": "pls refnd??", "expected": "Ask for the order number.", "grade": "It asks for the number."})


def test_a_case_is_an_input_an_outcome_and_how_to_grade_it() -> None:
    outcome = run_recipe(
        {"name": "edge_cases", "n": 2, "attributes": {"kind": ["misspelt"]}}, replying(CASE), from_seed=seed("Refund, please.")
    )
    for draft in outcome.drafts:
        assert (draft.prompt[0]["content"], draft.completion) == ("pls refnd??", "Ask for the order number.")
        assert draft.fields == {"attributes": {"kind": "misspelt"}, "grade": "It asks for the number."}
    [broken] = run_recipe({"name": "edge_cases"}, replying('{"input": "x"}'), from_seed=seed("Refund, please.")).drafts
    assert broken.reason is Reason.SCHEMA_MISMATCH


def job(folder: Path, **split: Any) -> dict[str, Any]:
    for name, rows in {"seeds": 12, "real": 3}.items():
        lines = [json.dumps({"prompt": f"{name} question {n} of a customer?", "answer": "yes"}) for n in range(rows)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    answer = '{"input": "{{ prompt | length }} {{ prompt[30:60] }}", "expected": "no", "grade": "it says no"}'
    return {
        "name": "cases",
        "seeds": str(folder / "seeds.jsonl"),
        "recipe": "edge_cases",
        "models": {"teacher": {"engine": "scripted", "script": {"answers": [answer]}}},
        "check": {"drop": []},
        "split": {"group_at": None, **split},
        "output": str(folder / "out"),
        "cluster": {"engine": "local"},
    }


def test_edge_cases_are_never_in_train_and_need_real_evaluation_rows(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"split\.fractions: wanted no train share with recipe 'edge_cases'"):
        synth_ray.run(job(tmp_path))
    with pytest.raises(JobError, match=r"split\.real: wanted real rows"):
        synth_ray.run(job(tmp_path, fractions={"test": 1.0}))
    manifest = synth_ray.run(job(tmp_path, fractions={"test": 1.0}, real=str(tmp_path / "real.jsonl"))).manifest
    assert set(manifest["splits"]) == {"test"}
    assert manifest["rows"]["real"] == 3
    assert manifest["rows"]["accepted"] > 0
    assert not manifest["synthetic_only_eval"]


@pytest.mark.vllm
def test_edge_cases_on_the_real_engine_have_every_part_within_its_length(vllm_teacher: Teacher) -> None:
    """The bundled teacher's text is poor; constrained decoding still gives every part, within its length."""
    [*drafts] = run_recipe(
        {"name": "edge_cases", "n": 8, "shots": 0, "part_characters": 20}, vllm_teacher, from_seed=seed("where is my parcel?")
    ).drafts
    complete = [draft for draft in drafts if draft.reason is None]
    assert len(complete) >= 4
    for draft in drafts:
        if draft.reason is not None and draft.finish_reason != "length":  # complete, but a part of it is blank
            parts = json.loads(draft.completion)
            assert all(len(text) <= 20 for text in parts.values()) and not all(text.strip() for text in parts.values())
    texts = [text for draft in complete for text in (draft.prompt[-1]["content"], draft.completion, draft.fields["grade"])]
    assert all(0 < len(text) <= 20 for text in texts)
