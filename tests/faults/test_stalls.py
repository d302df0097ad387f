"""Workers that live and do nothing any more: they are named and replaced, and a run that this does not help stops, resumable."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

import synth_ray
from synth_ray.workers.stager import Stager
from tests.faults.test_killed_actors import actors, slow_job
from tests.route.test_pools import judged
from tests.route.test_route import SCRIPT, job

STALL_S = 5.0
"""Longer than a busy machine lets a run stand still now and then: whoever works is not to be taken for one that hangs."""


@pytest.fixture(scope="module")
def digest(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("plain")
    return str(synth_ray.run(job(folder, str(folder / "out"))).manifest["dataset_digest"])


def stalling(folder: Path, script: dict[str, Any], **limits: Any) -> dict[str, Any]:
    teacher = {"engine": "scripted", "script": SCRIPT | script}
    return job(folder, str(folder / "out"), models={"teacher": teacher}, limits=limits)


def test_a_silent_engine_is_replaced_and_no_row_is_lost(digest: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    result = synth_ray.run(stalling(tmp_path, {"silent_after": 400}, stall_s=STALL_S))
    assert (result.stopped, result.manifest["dataset_digest"]) == ("", digest)
    said = [record.getMessage() for record in caplog.records if "limits.stall_s" in record.getMessage()]
    assert any("replica 0 has " in line and "requests of chunk" in line for line in said), said


def test_where_every_engine_is_silent_the_run_stops_with_what_it_has_and_goes_on_later(digest: str, tmp_path: Path) -> None:
    short = synth_ray.run(stalling(tmp_path, {"silent_after": 200}, engine_replacements=0, stall_s=3 * STALL_S))
    assert "limits.stall_s" in short.stopped
    assert "replica 0 has" in short.stopped
    assert (short.exit_code, short.manifest["complete"]) == (4, False)
    assert short.manifest["rows"]["accepted"] > 0
    whole = synth_ray.run(stalling(tmp_path, {}))
    assert (whole.stopped, whole.manifest["dataset_digest"]) == ("", digest)


def digest_of_judged(folder: Path) -> Any:
    folder.mkdir()
    return synth_ray.run(judged(folder)).manifest["dataset_digest"]


def test_judges_that_are_silent_are_all_replaced_and_none_of_them_counts_as_a_death(tmp_path: Path) -> None:
    document = judged(tmp_path, judge={"silent_after": 150}, cluster={"pools": "separate", "judges": 3})
    manifest = synth_ray.run(document | {"limits": {"stall_s": STALL_S, "engine_replacements": 2}}).manifest
    assert manifest["dataset_digest"] == digest_of_judged(tmp_path / "plain")
    assert len(manifest["throughput"]["pools"]["judge"]) in (6, 9)


@pytest.mark.ray
def test_judges_that_are_silent_on_ray_are_replaced(tmp_path: Path) -> None:
    """There are some 370 asks, and each judge answers 60: at least six are needed, however Ray's start-ups spread the asks."""
    cluster = {"engine": "ray", "teachers": 1, "stagers": 1, "cpus_per_teacher": 0.5, "cpus_per_judge": 0.1, "judges": 3}
    document = judged(tmp_path, judge={"silent_after": 60}, cluster={"pools": "separate"} | cluster)
    manifest = synth_ray.run(document | {"limits": {"stall_s": 6.0, "engine_replacements": 20}}).manifest
    assert manifest["complete"]
    assert manifest["dataset_digest"] == digest_of_judged(tmp_path / "plain")
    assert len(manifest["throughput"]["pools"]["judge"]) >= 6


def test_a_chunk_that_a_stager_hangs_on_is_staged_by_another(
    digest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, hung, woken = Stager.stage, threading.Event(), threading.Event()

    def hang_once(stager: Stager, chunk: int, *work: Any) -> Any:
        if chunk == 1 and not hung.is_set():
            hung.set()
            woken.wait(30)
        return stage(stager, chunk, *work)

    def watch(tally: Any) -> None:
        if tally.chunks_admitted >= 3:
            woken.set()

    monkeypatch.setattr(Stager, "stage", hang_once)
    result = synth_ray.run(stalling(tmp_path, {}, stall_s=STALL_S), watch=watch)
    assert (result.stopped, result.manifest["dataset_digest"]) == ("", digest)
    assert woken.is_set()


@pytest.mark.ray
def test_actors_that_stand_still_on_ray_are_replaced(digest: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A stopped process answers nothing, and Ray takes it for alive."""
    stopped: list[int] = []

    def stop_one(tally: Any) -> None:
        kinds = ["StagerActor", "TeacherActor"]
        if len(stopped) < 2 and tally.chunks_admitted >= 1 + 3 * len(stopped) and (pids := actors(kinds[len(stopped)])):
            stopped.append(pids[0])
            os.kill(pids[0], signal.SIGSTOP)

    cluster = {"engine": "ray", "teachers": 1, "stagers": 1, "cpus_per_teacher": 0.5}
    result = synth_ray.run(slow_job(tmp_path, cluster=cluster, limits={"stall_s": 2 * STALL_S}), watch=stop_one)
    assert (result.stopped, result.manifest["dataset_digest"], len(stopped)) == ("", digest, 2)
    said = [record.getMessage() for record in caplog.records if "limits.stall_s" in record.getMessage()]
    assert any("stager 0 has chunk" in line for line in said)
    assert any("replica 0 has" in line for line in said)
