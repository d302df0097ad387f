"""`submit` and `stop` without a cluster: flags that would say nothing are refused, and a stop waits as long as the driver has."""

from __future__ import annotations

import itertools
from typing import Any, cast

import pytest

from synth_ray.cli import stop
from synth_ray.cli.main import main
from synth_ray.cluster.jobs_api import RUNNING, JobsApi, SubmittedJob
from synth_ray.errors import SynthRayError


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--render", "--with-package"], "--with-package: wanted it without --render"),
        (["--render", "--driver-cpus", "2"], "--driver-cpus: wanted it without --render"),
        (["--render", "--driver-label", "market=spot"], "--driver-label: wanted it without --render"),
        (["--render", "--no-wait"], "--no-wait: wanted it without --render"),
        (["--values", "values.yaml"], "--values: wanted --render beside it"),
    ],
)
def test_a_flag_that_would_say_nothing_is_refused(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", "job.yaml", *words]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(("metadata", "seconds"), [({"stop_wait_s": "600"}, 660), ({}, 180)])
def test_a_stop_waits_until_ray_has_killed_the_driver(
    metadata: dict[str, str], seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = SubmittedJob("billing-1", RUNNING, metadata)

    class Busy:
        def job(self, job_id: str) -> SubmittedJob:
            return job

    clock = itertools.count(step=30)
    monkeypatch.setattr(stop.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(stop.time, "sleep", lambda _: None)
    with pytest.raises(SynthRayError, match=f"to end within {seconds} s, got RUNNING"):
        stop._wait(cast(JobsApi, cast(Any, Busy())), job)
