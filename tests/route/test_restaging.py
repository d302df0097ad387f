"""Chunks staged again by processes: the same version as by one, and a clear end where one of them is lost."""

from __future__ import annotations

import os
import re
import signal
import threading
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest

import synth_ray
from bench.processes import title, tree
from synth_ray.errors import StorageError, SynthRayError
from synth_ray.job.load import job_from
from synth_ray.route.curation import curate_job
from synth_ray.storage import open_storage
from synth_ray.workers import restaging_child
from synth_ray.workers.restaging import RestagingPool
from synth_ray.workers.row_stages import RowStages
from tests.route.test_curation import small_job

CHANGE = {"check": {"min_tokens": 20}, "scrub": {"entities": ["EMAIL_ADDRESS", "PHONE_NUMBER", "US_SSN"]}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("restaging")
    synth_ray.run(small_job(folder, scrub={"entities": ["EMAIL_ADDRESS"]}))
    return folder


@pytest.fixture
def by_two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synth_ray.workers.restaging.processes_for", lambda work_s: 2)


def stagers() -> list[int]:
    return [pid for pid in tree(os.getpid()) if "restaging_child" in title(pid)]


def test_processes_stage_the_same_version_and_end_with_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = curate_job(job_from(small_job(folder, **CHANGE))).manifest
    monkeypatch.setattr("synth_ray.workers.restaging.processes_for", lambda work_s: 2)
    seen: list[int] = []
    there = curate_job(job_from(small_job(folder, **CHANGE)), watch=lambda _: seen.append(len(stagers()))).manifest
    assert seen[:3] == [0, 0, 2]  # the first two chunks tell whether processes pay
    assert stagers() == []
    names = ("dataset_digest", "rows", "pii", "splits")
    assert [there[name] for name in names] == [here[name] for name in names]


def test_where_no_process_can_start_this_one_stages(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("synth_ray.child_process.subprocess.Popen", refused)
    with RestagingPool(job_from(small_job(folder, **CHANGE)), 2) as pool:
        assert pool.size == 0
    assert "0 of 2 processes that stage again could start (Resource temporarily unavailable)" in caplog.text


def test_a_lost_process_is_said_with_its_end(folder: Path) -> None:
    with RestagingPool(job_from(small_job(folder, **CHANGE)), 1) as pool:
        assert pool.load(0).rows.num_rows > 0
        for pid in stagers():
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(SynthRayError, match="chunk 1: wanted it staged again, got its process killed by signal 9"):
            pool.load(1)
    assert stagers() == []


def test_an_error_of_a_stage_is_said_by_its_type_and_place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise ValueError("the text of a row")

    monkeypatch.setattr(RowStages, "run_again", broken)
    here, there = Pipe()

    def serve() -> None:
        with there:  # its end is seen at the other one, as that of a process is
            restaging_child.serve(there)

    thread = threading.Thread(target=serve, daemon=True)
    with here:
        thread.start()
        here.send(job_from(small_job(folder, **CHANGE)))
        here.send(1)
        assert here.poll(300)
        error = here.recv()
    thread.join(60)
    assert not thread.is_alive()
    assert isinstance(error, SynthRayError)
    assert re.fullmatch(r"chunk 1: wanted it staged again, got ValueError at test_restaging\.py:\d+", str(error))


@pytest.mark.usefixtures("by_two_processes")
def test_a_lost_chunk_ends_the_curation_and_leaves_the_version_before(folder: Path) -> None:
    store = open_storage(str(folder / "out"))
    before = store.read("manifest.json")
    lost = next(entry.path for entry in store.list("_synth/chunks/00000001/"))
    rows = store.read(lost)
    store.delete(lost)
    with pytest.raises(StorageError, match=r"00000001.*wanted a committed chunk, got none"):
        curate_job(job_from(small_job(folder, **CHANGE)))
    store.write(lost, rows)
    assert store.read("manifest.json") == before
    assert stagers() == []
