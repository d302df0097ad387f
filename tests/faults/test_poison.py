"""Requests that kill their engine, never end or are very slow cost only their own row, which has a reason."""

from __future__ import annotations

import asyncio
import shutil
import threading
from pathlib import Path
from typing import Any

import duckdb
import pytest

import synth_ray
from synth_ray.ask.asker import Asker
from synth_ray.ask.deadline import Deadline
from synth_ray.drive.poison import PoisonIsolation
from synth_ray.job.sampling import Sampling
from synth_ray.job.section import Section
from synth_ray.recipes.contract import Constraint, Recipe, user
from synth_ray.records import Reason, Request, Seed, digest
from tests.conftest import TINY_TEACHER
from tests.endpoint_server import MODEL, Reply, behaving_server
from tests.held_server import LONGEST_S
from tests.route.test_route import job
from tests.unit.ask.test_teachers import ask, prompt


def requests(n: int) -> list[Request]:
    return [Request(f"r{i}", 0, i, Seed(f"s{i}", "l", "train", {}), 1) for i in range(n)]


@pytest.mark.parametrize(("n", "poison_position"), [(1, 0), (9, 8), (1024, 0), (1024, 777), (1024, 1023)])
def test_a_poison_request_is_isolated_within_six_engine_deaths(n: int, poison_position: int) -> None:
    isolation, all_requests, deaths, poison = PoisonIsolation(), requests(n), 0, []
    pending, alone = all_requests, False
    while not poison:
        if any(r.position == poison_position for r in pending):
            deaths += 1
            to_retry, poison = isolation.on_death(pending, isolated=alone)
            pending, alone = to_retry, False
        else:
            isolation.exonerate(r.id for r in pending)
            pending = []
        if not pending:
            pending, alone = isolation.next_group(), True
    assert [r.position for r in poison] == [poison_position]
    assert deaths <= 6
    remaining = []
    while group := isolation.next_group():
        remaining += group
    assert poison_position not in {r.position for r in remaining}


def test_a_poison_prompt_is_rejected_and_all_other_requests_are_answered(tmp_path: Path) -> None:
    base = job(tmp_path, "", **{"plan": {"requests": 120, "chunk_requests": 40, "window_chunks": 3}})
    teacher: dict[str, Any] = {"engine": "scripted", "script": {"poison": "Question 77 ", "concurrency": 8, "latency_s": 0.01}}
    changes = {"models": {"teacher": teacher}, "output": {"path": str(tmp_path / "out")}, "limits": {"engine_replacements": 3}}
    result = synth_ray.run(base | changes | {"recipe": {"name": "distill", "keep": ["answer"]}})
    assert not result.stopped
    assert result.manifest["rows"]["requested"] == 120
    assert result.manifest["rows"]["failed"] == {"engine_error": 1}
    rejected = f"read_parquet('{tmp_path}/out/rejected/*.parquet')"
    [(detail,)] = duckdb.sql(f"select detail from {rejected} where reason = 'engine_error'").fetchall()
    assert "alone" in detail


def test_an_engine_that_dies_of_every_request_stops_the_run(tmp_path: Path) -> None:
    teacher = {"engine": "scripted", "script": {"poison": "Question"}}
    changes = {
        "models": {"teacher": teacher},
        "limits": {"engine_replacements": 2},
        "plan": {"requests": 40, "chunk_requests": 40},
    }
    result = synth_ray.run(job(tmp_path, str(tmp_path / "out"), **changes))
    assert "engine_replacements" in result.stopped
    assert not result.manifest["complete"]


def test_very_slow_requests_end_at_their_deadline_and_delay_no_others(tmp_path: Path) -> None:
    script = {"latency_s": 0.002, "slow_share": 0.01, "slow_factor": 100_000, "concurrency": 64}
    changes = {"models": {"teacher": {"engine": "scripted", "script": script}}, "limits": {"request_deadline_s": 10.0}}
    manifest = synth_ray.run(job(tmp_path, str(tmp_path / "out"), **changes)).manifest
    assert manifest["complete"]
    assert 0 < manifest["rows"]["failed"]["deadline"] < 40


@pytest.fixture(scope="module")
def broken_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny teacher with a weight that is not a number, as a broken download or quantization leaves one."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("broken") / "model"
    shutil.copytree(TINY_TEACHER, folder)
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"], float("nan"))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.vllm
def test_a_model_with_nan_logits_stops_the_run_without_accepted_rows(
    vllm_teacher: Any, broken_model: Path, tmp_path: Path
) -> None:
    """Constrained decoding would make a valid label of NaN logits, so the engine must fail and the job accept nothing."""
    args = {"dtype": "bfloat16", "max_num_seqs": 8, "max_model_len": 512, "enforce_eager": True}
    changes: dict[str, Any] = {
        "models": {"teacher": {"engine": "vllm", "model": str(broken_model), "engine_args": args}},
        "recipe": {"name": "label", "labels": ["calm", "angry"]},
        "plan": {"requests": 20, "chunk_requests": 10},
        "limits": {"engine_replacements": 1},
    }
    base = {k: v for k, v in job(tmp_path, str(tmp_path / "out")).items() if k not in ("recipe", "dedup", "models")}
    result = synth_ray.run(base | changes)
    assert "engine_replacements" in result.stopped
    assert "NaN" in result.stopped
    assert not result.manifest["complete"]
    assert result.manifest["rows"]["accepted"] == 0


@pytest.mark.vllm
def test_an_endless_constraint_ends_at_the_token_limit_or_the_deadline(vllm_teacher: Any) -> None:
    endless = Constraint(regex="[a-z ]{480,}")
    [[cut]] = ask(vllm_teacher, prompt(1, constraint=endless, sampling={"max_tokens": 30}))
    assert (cut.finish_reason, cut.completion_tokens) == ("length", 30)

    async def make(request: Request, ask_teacher: Any, options: Any) -> list[Any]:
        await ask_teacher([user("Write one new customer message.")], constraint=endless, max_tokens=400)
        return []

    asker = Asker(
        Recipe("endless", Section, make),
        options=None,
        teachers={"teacher": vllm_teacher},
        sampling=Sampling(),
        deadline=Deadline(0.2, tokens=1),
    )
    request = Request("r", 0, 0, Seed("s", "l", "train", {}), 2)
    outcome = asyncio.run(asker.run(request))
    assert [d.reason for d in outcome.drafts] == [Reason.DEADLINE] * 2
    assert len(ask(vllm_teacher, prompt(2))) == 1  # its slot in the engine is free again


def test_a_teacher_without_answers_stops_the_run_unless_max_failed_share_allows_it(tmp_path: Path) -> None:
    empty = {"engine": "scripted", "script": {"empty_share": 1.0}}
    plan = {"requests": 1000, "chunk_requests": 40}
    short = synth_ray.run(job(tmp_path, str(tmp_path / "out"), models={"teacher": empty}, plan=plan))
    rows = short.manifest["rows"]
    assert short.stopped.startswith("limits.max_failed_share")
    assert not short.manifest["complete"]
    assert "no_answer" in short.stopped
    assert rows["requested"] < 2000
    completed = synth_ray.run(
        job(tmp_path, str(tmp_path / "out"), models={"teacher": empty}, plan=plan, limits={"max_failed_share": 1.0})
    )
    assert completed.manifest["complete"]
    assert completed.manifest["rows"]["failed"] == {"no_answer": 2000}


def test_requests_without_an_answer_for_long_do_not_grow_the_buffers_and_are_answered(tmp_path: Path) -> None:
    """The window covers the whole plan, so at the end only those requests are in flight that the server holds."""
    is_seen, held, alone = threading.Event(), list[int](), list[int]()

    def behave(body: dict[str, Any], _times: int) -> Reply:
        name = digest(body["messages"])
        if "Question 117 " in body["messages"][-1]["content"]:
            held.append(1)
            is_seen.wait(LONGEST_S)
        choice = {"index": 0, "finish_reason": "stop", "message": {"content": f"the answer {name}"}}
        return 200, {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 5}}

    def watch(tally: Any) -> None:
        if 0 < tally.in_flight <= len(held):
            alone.append(tally.buffered_bytes)
        if len(alone) >= 8:
            is_seen.set()

    with behaving_server(behave) as (url, _):
        endpoint = {"urls": [url], "flavour": "openai", "concurrency": 16, "timeout_s": 600}
        changes: dict[str, Any] = {
            "models": {"teacher": {"engine": "endpoint", "model": MODEL, "endpoint": endpoint}},
            "plan": {"requests": 400, "chunk_requests": 20, "window_chunks": 20},
            "recipe": {"name": "distill", "keep": ["answer"]},
        }
        result = synth_ray.run(job(tmp_path, str(tmp_path / "out")) | changes, watch=watch)
    assert result.manifest["complete"]
    assert result.manifest["rows"]["requested"] == 400
    assert result.manifest["rows"]["failed"] == {}
    assert len(held) > 1 and is_seen.is_set()
    assert max(alone) <= alone[0] + 10_000  # the buffer grows only by their own rows
