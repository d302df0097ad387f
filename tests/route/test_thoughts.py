"""Thoughts from the teacher to the published row: kept apart, counted, journalled, and shown to no judge and no verifier."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

import synth_ray
from synth_ray.ask.segments import journalled_chunks, read_journal
from synth_ray.dataset.manifest import Manifest
from synth_ray.evaluate.asking import Settings, evaluate
from synth_ray.evaluate.cases import Case
from synth_ray.evaluate.target import Place, open_target
from synth_ray.recipes.contract import user
from synth_ray.storage import open_storage
from tests.endpoint_server import MODEL, behaving_server, listed

CRITERIA = {"correct": "free of errors", "clear": "plain"}
SCRIPT = {"thought": 12, "words": 8}


def job(folder: Path, *, script: dict[str, Any], name: str = "out", **more: Any) -> dict[str, Any]:
    seeds = folder / "seeds.jsonl"
    seeds.write_text("".join(json.dumps({"prompt": f"question number {n}"}) + "\n" for n in range(80)))
    return {
        "name": "thoughts",
        "seeds": str(seeds),
        "recipe": "distill",
        "models": {"teacher": {"engine": "scripted", "script": SCRIPT | script}},
        "plan": {"chunk_requests": 20, "window_chunks": 2},
        "split": {"fractions": {"train": 1.0}, "group_at": None},
        "output": str(folder / name),
        "cluster": {"engine": "local", "in_flight": 16},
        "limits": {"journal_flush_s": 0.05},
        **more,
    }


def rows_of(folder: Path, name: str = "out") -> Any:
    return datasets.load_dataset(str(folder / name), cache_dir=str(folder / f"cache-{name}"))["train"]


def test_rows_have_the_thought_beside_the_answer_and_all_its_tokens_are_counted(tmp_path: Path) -> None:
    manifest: Manifest = synth_ray.run(job(tmp_path, script={"thought_cut_share": 0.25})).manifest
    rows = rows_of(tmp_path)
    assert manifest["rows"]["accepted"] == rows.num_rows
    for row in rows:
        assert len(row["reasoning"].split()) == row["reasoning_tokens"] == 12
        assert len(row["completion"].split()) == 8 and row["completion_tokens"] == 20
        assert row["messages"][-1]["reasoning"] == row["reasoning"] and row["reasoning"] not in row["completion"]
    cut = manifest["rows"]["requested"] - rows.num_rows
    assert cut > 5
    assert manifest["tokens"]["reasoning"] == 12 * rows.num_rows + 6 * cut
    assert manifest["tokens"]["completion"] == 20 * rows.num_rows + 6 * cut


@pytest.mark.parametrize(("reasoning", "words"), [(False, 0), ({"budget": 5}, 5)])
def test_a_job_turns_thoughts_off_or_limits_them(reasoning: Any, words: int, tmp_path: Path) -> None:
    fields = job(tmp_path, script={})
    fields["models"]["teacher"]["reasoning"] = reasoning
    manifest = synth_ray.run(fields).manifest
    assert manifest["tokens"].get("reasoning", 0) == 80 * words
    assert all(len((row.get("reasoning") or "").split()) == words for row in rows_of(tmp_path))


def test_a_stopped_run_goes_on_with_the_thoughts_it_had(tmp_path: Path) -> None:
    synth_ray.run(job(tmp_path, script={}, name="whole"))
    stopped = synth_ray.run(job(tmp_path, script={"refuse_after": 50, "latency_s": 0.01}))
    assert not stopped.manifest["complete"]
    store = open_storage(str(tmp_path / "out"))
    journalled = [a for chunk in journalled_chunks(store) for asks in read_journal(store, chunk).values() for a in asks.values()]
    assert journalled and all(answer.reasoning and answer.reasoning_tokens == 12 for [answer] in journalled)
    manifest = synth_ray.run(job(tmp_path, script={})).manifest
    assert manifest["tokens"]["reasoning"] == 12 * 80
    kept = [{row["id"]: (row["completion"], row["reasoning"]) for row in rows_of(tmp_path, name)} for name in ("out", "whole")]
    assert kept[0] == kept[1] and len(kept[0]) == 80


def test_a_judge_is_shown_answers_and_no_thoughts(tmp_path: Path) -> None:
    verdict = json.dumps({"correct": 5, "clear": 5})
    said = {"message": {"content": verdict, "reasoning": "Good."}, "finish_reason": "stop"}
    with behaving_server(lambda _body, _times: (200, {"choices": [said]})) as (url, got):
        fields = job(tmp_path, script={}, check={"drop": ["truncated"], "judge": {"criteria": CRITERIA}})
        fields["models"]["judge"] = {"engine": "endpoint", "model": MODEL, "endpoint": {"urls": url}}
        synth_ray.run(fields)
    asked = "\n".join(turn["content"] for body in got for turn in body["messages"])
    rows = rows_of(tmp_path)
    assert rows.num_rows == 80
    assert all(row["completion"] in asked and row["reasoning"] and row["reasoning"] not in asked for row in rows)


def test_an_evaluation_grades_the_answer_and_not_the_thought(tmp_path: Path) -> None:
    said = {"message": {"content": "<think>It may be 42. No, 41.</think>41"}, "finish_reason": "stop"}
    with behaving_server(lambda _body, _times: (200, {"choices": [said]}), listed) as (url, _):
        target = open_target(Place(url, model=MODEL))
        cases = [Case("right", [user("6 * 7 - 1?")], expected="41"), Case("wrong", [user("6 * 7?")], expected="42")]
        results = evaluate(cases, target, Settings(), open_storage(str(tmp_path))).results
    assert {result.case.id: str(result.graded.verdict) for result in results} == {"right": "passed", "wrong": "wrong"}
    assert {result.answer for result in results} == {"41"}
