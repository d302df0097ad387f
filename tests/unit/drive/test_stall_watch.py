"""How long a run is patient, and when nobody can be replaced."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from synth_ray.drive.stalls import LEAST_S, StallWatch
from synth_ray.job.load import job_from
from synth_ray.meter.tally import Tally


class StuckPool:
    """One stager that stages chunk 7."""

    def __init__(self) -> None:
        self.replaceable = True
        self.replaced: list[int] = []

    def stagers(self) -> Mapping[int, list[int]]:
        return {3: [7]}

    def can_replace(self) -> bool:
        return self.replaceable

    def replace_stager(self, stager: int, cause: str) -> None:
        self.replaced.append(stager)


class Watched:
    """A run that stands still; its clock goes on by `look`."""

    def __init__(self, folder: Path, **more: Any) -> None:
        document = {"name": "s", "seeds": "s.jsonl", "recipe": "distill", "output": str(folder)}
        job = job_from(document | {"models": {"teacher": {"engine": "scripted"}}} | more)
        self.now, self.pool = 0.0, StuckPool()
        dispatcher: Any = SimpleNamespace(replicas={})
        pool: Any = self.pool
        self.watch = StallWatch(job, pool=pool, dispatcher=dispatcher, tally=Tally(), clock=lambda: self.now)
        self.watch.tick()

    def look(self, seconds: float) -> str:
        until, said = self.now + seconds, ""
        while self.now < until and not said:
            self.now += 30
            said = self.watch.tick()
        return said


@pytest.mark.parametrize(
    ("more", "honest_s"),
    [
        ({"check": {"verify": "code", "code_seconds": 60}, "plan": {"chunk_requests": 512}}, 512 * 2 * 60 / 4),
        ({"recipe": {"name": "distill", "n": 8}}, 8 * 1024),
        ({"scrub": {"engine": "transformers", "model": "m", "record_timeout_s": 20}}, 1024 * 20),
    ],
)
def test_a_chunk_whose_rows_take_as_long_as_they_may_is_no_stall(tmp_path: Path, more: dict[str, Any], honest_s: float) -> None:
    run = Watched(tmp_path, **more)
    run.look(0.98 * honest_s)
    assert run.pool.replaced == []
    run.look(50 * honest_s)
    assert run.pool.replaced == [3]


def test_while_nobody_can_be_replaced_no_stall_is_used_up(tmp_path: Path) -> None:
    run = Watched(tmp_path)
    run.pool.replaceable = False
    assert run.look(3 * LEAST_S) == ""
    run.pool.replaceable = True
    assert (run.look(LEAST_S), run.pool.replaced) == ("", [3])
    assert "stager 3 has chunk 7" in run.look(LEAST_S)
