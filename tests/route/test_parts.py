"""A job in parts: several drivers ask and stage, one admits, and the dataset is that of one driver."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import synth_ray
from synth_ray.dataset.ledger import Ledger
from synth_ray.dataset.output_status import read_status
from synth_ray.dataset.process import is_dead
from synth_ray.errors import Conflict, JobError, SynthRayError
from synth_ray.job.load import job_from
from synth_ray.route.output_lease import hold_lease, hold_part
from synth_ray.route.parts import share_of
from synth_ray.route.preflight import preflight
from synth_ray.storage import open_storage
from tests.route.test_route import SCRIPT, job

PARTS = 3


def in_parts(folder: Path, prefix: Path, **more: Any) -> dict[str, Any]:
    plan = {"parts": PARTS} | more.pop("plan", {})
    cluster = {"engine": "local", "teachers": PARTS} | more.pop("cluster", {})
    return job(folder, str(prefix), plan=plan, cluster=cluster, **more)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("alone")
    return synth_ray.run(job(folder, str(folder / "out"))).manifest


def test_parts_driven_one_by_one_and_then_admitted_give_the_dataset_of_one_driver(tmp_path: Path, alone: dict[str, Any]) -> None:
    """As on several machines. The parts journal, commit and are billed beside each other; nothing is left of them at the end."""
    document = in_parts(tmp_path, tmp_path / "out")
    storage = open_storage(str(tmp_path / "out"))
    ended = [synth_ray.run_part(document, part) for part in (2, 0, 1)]
    assert [(result.committed, result.chunks, result.exit_code) for result in ended] == [(2, 2, 0), (3, 3, 0), (3, 3, 0)]
    assert not storage.exists("manifest.json")
    committed = dict.fromkeys(Ledger(storage).committed_chunks())
    asked: list[int] = []
    manifest = synth_ray.run(document, watch=lambda tally: asked.append(tally.requests_done)).manifest
    assert manifest["dataset_digest"] == alone["dataset_digest"]
    assert manifest["job_digest"] == alone["job_digest"]
    assert (list(committed), max(asked), list(storage.list("_synth/asks/"))) == (list(range(8)), 0, [])
    assert (manifest["cost"]["runs"], manifest["tokens"]) == (4, alone["tokens"])


def test_one_command_starts_a_process_for_each_part_and_admits(tmp_path: Path, alone: dict[str, Any]) -> None:
    manifest = synth_ray.run(in_parts(tmp_path, tmp_path / "out", plan={"parts": 2})).manifest
    assert manifest["dataset_digest"] == alone["dataset_digest"]
    assert manifest["complete"]


def test_a_part_that_fails_stops_the_others_and_what_is_committed_is_kept(tmp_path: Path, alone: dict[str, Any]) -> None:
    """Another driver has a part: that is no reason to publish less than everything."""
    document = in_parts(tmp_path, tmp_path / "out", plan={"parts": 2})
    with hold_part(open_storage(str(tmp_path / "out")), 1), pytest.raises(SynthRayError, match=r"part 1: wanted its chunks"):
        synth_ray.run(document)
    assert synth_ray.run(document).manifest["dataset_digest"] == alone["dataset_digest"]


def test_a_signal_stops_every_part_and_the_same_command_goes_on(tmp_path: Path, alone: dict[str, Any]) -> None:
    slow = {"teacher": {"engine": "scripted", "script": {**SCRIPT, "latency_s": 2.0, "concurrency": 8}}}
    document = in_parts(tmp_path, tmp_path / "out", models=slow, plan={"parts": 2})
    storage = open_storage(str(tmp_path / "out"))

    is_over = threading.Event()

    def stop_once_both_work() -> None:
        while not is_over.wait(0.1):
            if len(read_status(storage, now=time.time()).part_drivers) == 2:
                os.kill(os.getpid(), signal.SIGTERM)
                return

    stopping = threading.Thread(target=stop_once_both_work, daemon=True)
    stopping.start()
    try:
        result = synth_ray.run(document)
    finally:
        is_over.set()
        stopping.join(60)
    assert (result.exit_code, result.is_interrupted, result.stopped) == (4, True, "got SIGTERM")
    assert not result.manifest["complete"]
    assert all(is_dead(driver) for driver in read_status(storage, now=time.time()).part_drivers.values())
    fast = document | {"models": {"teacher": {"engine": "scripted", "script": SCRIPT}}}
    assert synth_ray.run(fast).manifest["dataset_digest"] == alone["dataset_digest"]


def test_a_driver_of_all_and_one_of_a_part_exclude_each_other(tmp_path: Path) -> None:
    """A live driver is told by its renewal, for which the other waits: a sixth of the lease."""
    storage = open_storage(str(tmp_path))
    whole, part = partial(hold_lease, storage, lease_s=12), partial(hold_part, storage, lease_s=12)
    with part(0), part(1), pytest.raises(Conflict, match=r"parts/0000"), whole():
        pass
    with whole(), pytest.raises(Conflict), part(1):
        pass
    with part(1), pytest.raises(Conflict), part(1):
        pass


def test_replicas_and_budget_are_divided_and_what_decides_about_rows_is_not(tmp_path: Path) -> None:
    cluster = {"teachers": 8, "min_teachers": 2, "stagers": 2, "index_shards": 4}
    whole = job_from(in_parts(tmp_path, tmp_path / "out", cluster=cluster, budget={"max_usd": 9.0, "gpu_hour_usd": 2.0}))
    shares = [share_of(whole, part) for part in range(PARTS)]
    assert [share.cluster.teachers for share in shares] == [3, 3, 2]
    assert [share.budget.max_usd for share in shares] == [3.0] * PARTS
    assert all(share.cluster.index_shards == 0 and share.cluster.stagers == 1 for share in shares)
    assert {share.ask_digest("seeds") for share in shares} == {whole.ask_digest("seeds")}


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"target": {"accepted": 10}}, r"wanted a plan of fixed length, got a target with 3 parts"),
        ({"cluster": {"teachers": 2}}, r"at least one replica of each pool for each of 3 parts, got 2"),
    ],
)
def test_jobs_that_cannot_be_divided_are_refused(tmp_path: Path, more: dict[str, Any], sentence: str) -> None:
    with pytest.raises(JobError, match=sentence):
        job_from(in_parts(tmp_path, tmp_path / "out", **more))


def test_processes_of_one_machine_are_refused_a_ray_each(tmp_path: Path) -> None:
    """One part alone may start its own, and a job that is submitted has the cluster's."""
    document = in_parts(tmp_path, tmp_path / "out", cluster={"engine": "ray"})
    for step in (synth_ray.run, lambda document: preflight(job_from(document))):
        with pytest.raises(JobError, match=r"wanted a Ray that 3 drivers share, got none at cluster.address"):
            step(document)
    assert preflight(job_from(document), elsewhere=True).seeds


def test_a_part_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"--part: wanted one of the job's parts, 0 to 2, got 3"):
        synth_ray.run_part(in_parts(tmp_path, tmp_path / "out"), 3)


def test_a_longer_plan_is_grown_by_whichever_part_comes_first(tmp_path: Path) -> None:
    short = in_parts(tmp_path, tmp_path / "out", plan={"requests": 200})
    for part in range(PARTS):
        synth_ray.run_part(short, part)
    longer = in_parts(tmp_path, tmp_path / "out")
    ended = [synth_ray.run_part(longer, part, extend=True) for part in range(PARTS)]
    assert Counter(result.stopped for result in ended) == {"": PARTS}
    with_one = synth_ray.run(job(tmp_path, str(tmp_path / "one"), plan={"requests": 200}))
    assert with_one.exit_code == 0
    grown = synth_ray.run(job(tmp_path, str(tmp_path / "one")), extend=True).manifest
    assert synth_ray.run(longer, extend=True).manifest["dataset_digest"] == grown["dataset_digest"]
