"""Cases for evaluation: never for training, always beside real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import synth_ray
from synth_ray.ask.teacher import Teacher
from synth_ray.errors import JobError
from synth_ray.records import Reason
from tests.unit.recipes.standins import made, says, seed

CASE = json.dumps({"input": "pls refnd??", "expected": "Ask for the order number.", "grade": "It asks for the number."})


def test_a_case_is_an_input_an_outcome_and_how_to_grade_it() -> None:
    outcome = made({"name": "edge_cases", "n": 2, "attributes": {"kind": ["misspelt"]}}, says(CASE), one=seed("Refund, please."))
    for draft in outcome.drafts:
        assert (draft.prompt[0]["content"], draft.completion) == ("pls refnd??", "Ask for the order number.")
        assert draft.fields == {"attributes": {"kind": "misspelt"}, "grade": "It asks for the number."}
    [broken] = made({"name": "edge_cases"}, says('{"input": "x"}'), one=seed("Refund, please.")).drafts
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


def test_no_case_is_for_training_and_none_stands_without_real_ones(tmp_path: Path) -> None:
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
def test_cases_have_their_form_on_the_real_engine(vllm_teacher: Teacher) -> None:
    """What they say is beyond the bundled teacher; that every part is there, and no longer than it may be, is the decoder's."""
    [*drafts] = made(
        {"name": "edge_cases", "n": 8, "shots": 0, "part_characters": 20}, vllm_teacher, one=seed("where is my parcel?")
    ).drafts
    whole = [draft for draft in drafts if draft.reason is None]
    assert len(whole) >= 4
    assert all(draft.finish_reason == "length" for draft in drafts if draft.reason is not None)
    texts = [text for draft in whole for text in (draft.prompt[-1]["content"], draft.completion, draft.fields["grade"])]
    assert all(0 < len(text) <= 20 for text in texts)
