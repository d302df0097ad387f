"""What a request can do to a run: kill its engine, never end, be too long. It costs its own row, with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

import synth_ray
from synth_ray.records import Request, Seed
from synth_ray.route.suspects import Suspects
from tests.route.test_route import job


def requests(n: int) -> list[Request]:
    return [Request(f"r{i}", 0, i, Seed(f"s{i}", "l", "train", {}), 1) for i in range(n)]


@pytest.mark.parametrize(("n", "guilty"), [(1, 0), (9, 8), (1024, 0), (1024, 777), (1024, 1023)])
def test_one_request_among_many_that_kills_engines_is_found_in_a_few_deaths(n: int, guilty: int) -> None:
    suspects, asked, deaths, found = Suspects(), requests(n), 0, []
    pending, alone = asked, False
    while not found:
        if any(r.position == guilty for r in pending):
            deaths += 1
            again, found = suspects.died(pending, alone=alone)
            pending, alone = again, False
        else:
            suspects.cleared(r.id for r in pending)
            pending = []
        if not pending:
            pending, alone = suspects.next_group(), True
    assert [r.position for r in found] == [guilty]
    assert deaths <= 6
    left = []
    while group := suspects.next_group():
        left += group
    assert guilty not in {r.position for r in left}


def test_a_prompt_that_kills_engines_is_set_aside_and_everyone_else_is_answered(tmp_path: Path) -> None:
    base = job(tmp_path, "", **{"plan": {"requests": 120, "chunk_requests": 40, "window_chunks": 3}})
    teacher: dict[str, Any] = {"engine": "scripted", "script": {"poison": "Question 77 ", "concurrency": 8, "latency_s": 0.01}}
    how = {"models": {"teacher": teacher}, "output": {"path": str(tmp_path / "out")}, "limits": {"engine_replacements": 3}}
    result = synth_ray.run(base | how | {"recipe": {"name": "distill", "keep": ["answer"]}})
    assert not result.stopped
    assert result.manifest["rows"]["requested"] == 120
    assert result.manifest["rows"]["failed"] == {"engine_error": 1}
    rejected = f"read_parquet('{tmp_path}/out/rejected/*.parquet')"
    [(detail,)] = duckdb.sql(f"select detail from {rejected} where reason = 'engine_error'").fetchall()
    assert "alone" in detail


def test_an_engine_that_dies_of_everything_is_not_replaced_for_ever(tmp_path: Path) -> None:
    teacher = {"engine": "scripted", "script": {"poison": "Question"}}
    how = {"models": {"teacher": teacher}, "limits": {"engine_replacements": 2}, "plan": {"requests": 40, "chunk_requests": 40}}
    result = synth_ray.run(job(tmp_path, str(tmp_path / "out"), **how))
    assert "engine_replacements" in result.stopped
    assert not result.manifest["complete"]


def test_one_request_far_slower_than_the_rest_ends_by_its_deadline_and_holds_nobody_up(tmp_path: Path) -> None:
    script = {"latency_s": 0.002, "slow_share": 0.01, "slow_factor": 100_000, "concurrency": 64}
    how = {"models": {"teacher": {"engine": "scripted", "script": script}}, "limits": {"request_deadline_s": 1.5}}
    manifest = synth_ray.run(job(tmp_path, str(tmp_path / "out"), **how)).manifest
    assert manifest["complete"]
    assert 0 < manifest["rows"]["failed"]["deadline"] < 40
