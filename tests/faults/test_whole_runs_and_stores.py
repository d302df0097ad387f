"""Whole runs with store faults or a concurrent reader: a clean stop, the same dataset, and only complete versions visible."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow.parquet as pq
import pytest
import yaml

import synth_ray
from synth_ray.dataset.ledger import Ledger
from synth_ray.errors import ObjectNotFound, SynthRayError
from synth_ray.storage import Storage, open_storage
from tests.cloud_servers import REMOTE, Place, new_place
from tests.fork_server import ForkServer
from tests.proxy import Proxy, SeenRequest, proxy_to
from tests.route.test_route import SCRIPT, job

PLAN = {"requests": 120, "chunk_requests": 20, "window_chunks": 3}


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("whole")
    return str(synth_ray.run(job(folder, str(folder / "out"), plan=PLAN)).manifest["dataset_digest"])


@pytest.fixture(params=REMOTE)
def place(request: pytest.FixtureRequest) -> Place:
    return new_place(request.param, request)


@pytest.fixture
def proxy(place: Place) -> Iterator[Proxy]:
    with proxy_to(str(place.endpoint_url)) as proxy:
        yield proxy


def is_published(store: Storage) -> bool:
    return store.exists("manifest.json")


@pytest.mark.parametrize("place", [pytest.param("s3", marks=pytest.mark.s3), "gs"], indirect=True)
@pytest.mark.parametrize(("fault", "message"), [("expired", "credentials that expired"), ("full", "a full store")])
def test_a_whole_run_stops_cleanly_at_a_permanent_fault_and_resumes_to_the_same_dataset(
    wanted: str, tmp_path: Path, place: Place, proxy: Proxy, fault: str, message: str
) -> None:
    document = job(tmp_path, "", plan=PLAN, output={"path": f"{place.url}/out", "endpoint_url": proxy.url})
    fork_server = ForkServer()  # each run in its own process, so that its lease is a dead driver's
    clear = open_storage(f"{place.url}/out", endpoint_url=place.endpoint_url)
    for commits in (1, 4):  # the fault begins after so many commits

        def plan(seen: SeenRequest, commits: int = commits) -> str | None:
            done = sum(s.method == "PUT" and "/commits/" in unquote(s.path) for s in proxy.seen)
            return fault if done > commits else None

        proxy.seen.clear()
        proxy.plan = plan
        assert message in fork_server.run(document)["error"]
        assert not is_published(clear)
    kept = {e.path: clear.read(e.path) for e in clear.list("_synth/commits/")}
    assert kept
    proxy.plan = lambda _: None
    assert fork_server.run(document)["error"] == ""
    fork_server.close()
    assert json.loads(clear.read("manifest.json"))["dataset_digest"] == wanted
    assert {path: clear.read(path) for path in kept} == kept


def test_a_whole_run_with_stale_listings_makes_the_same_dataset(wanted: str, tmp_path: Path, place: Place, proxy: Proxy) -> None:
    """A stale listing omits recent objects, as behind a cache: work may be repeated, but no row."""
    document = job(tmp_path, "", plan=PLAN, output={"path": f"{place.url}/out", "endpoint_url": proxy.url})
    stale: list[str] = []

    def plan(seen: SeenRequest) -> str | None:
        is_listing = "list-type" in seen.path or "comp=list" in seen.path
        if is_listing and len(stale) % 2 == 0:
            stale.append(seen.path)
            return "stale"
        stale.extend(["fresh"] * is_listing)
        return None

    proxy.plan = plan
    short = synth_ray.run(document | {"budget": {"max_seconds": 0.5}, "models": slow_teacher()})
    assert not short.manifest["complete"]
    manifest = synth_ray.run(document).manifest
    assert manifest["dataset_digest"] == wanted
    assert manifest["rows"]["requested"] == 240
    assert len([s for s in stale if s != "fresh"]) >= 2


def test_a_whole_run_killed_at_its_writes_resumes_to_the_same_dataset(
    wanted: str, tmp_path: Path, place: Place, proxy: Proxy
) -> None:
    """The proxy kills the process just before or just after one of its writes reaches the store."""
    document = job(tmp_path, "", plan=PLAN, output={"path": f"{place.url}/out", "endpoint_url": proxy.url})
    clear = open_storage(f"{place.url}/out", endpoint_url=place.endpoint_url)
    for at, fault in ((2, "reset_before"), (6, "reset_after"), (11, "reset_before"), (14, "reset_after")):
        assert not is_published(clear)
        assert killed_at(at, fault, document, proxy) == -signal.SIGKILL
    proxy.plan = lambda _: None
    assert synth_ray.run(document).manifest["dataset_digest"] == wanted
    assert list(Ledger(clear).orphans()) == []


def killed_at(at: int, fault: str, document: dict[str, Any], proxy: Proxy) -> int:
    """The exit code of a run in a process of its own, whose `at`-th write meets the fault, which is its end: what it asks of the
    store after that comes to nothing, however late the kill is.
    """
    code = "import json, sys, synth_ray; synth_ray.run(json.loads(sys.argv[1]))"
    process = subprocess.Popen([sys.executable, "-c", code, json.dumps(document)])
    writes = itertools.count()
    is_over = threading.Event()

    def plan(seen: SeenRequest) -> str | None:
        if is_over.is_set():
            return "reset_before"
        if seen.method not in ("PUT", "POST", "DELETE") or next(writes) < at:
            return None
        is_over.set()
        if fault == "reset_after":
            threading.Timer(0.05, process.kill).start()
        else:
            process.kill()
        return fault

    proxy.plan = plan
    return process.wait(timeout=300)


def slow_teacher() -> dict[str, Any]:
    return {"teacher": {"engine": "scripted", "script": {**SCRIPT, "latency_s": 0.1, "concurrency": 16}}}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB; skips where this process may not mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], check=False).returncode:
        pytest.skip("this process may not mount a file system")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_whole_run_on_a_full_disk_stops_cleanly_and_resumes_once_space_is_free(
    wanted: str, tmp_path: Path, small_disk: Path
) -> None:
    out = small_disk / "out"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1_950_000))
    with pytest.raises(SynthRayError, match="full disk"):
        synth_ray.run(job(tmp_path, str(out), plan=PLAN))
    assert not (out / "manifest.json").exists()
    ballast.unlink()
    assert synth_ray.run(job(tmp_path, str(out), plan=PLAN)).manifest["dataset_digest"] == wanted


class Reader(threading.Thread):
    """Reads the card, the manifest and every file they list, in a loop."""

    def __init__(self, out: Path) -> None:
        super().__init__(daemon=True)
        self._out, self._ended = out, threading.Event()
        self.seen: list[tuple[str, bool, int]] = []
        self.torn: list[str] = []

    def run(self) -> None:
        while not self._ended.is_set():
            for read in (self._by_manifest, self._by_card):
                try:
                    read()
                except (ObjectNotFound, FileNotFoundError) as error:
                    self._missing(str(error))

    def _missing(self, error: str) -> None:
        if (self._out / "manifest.json").exists() and "data/" in error:
            self.torn.append(error)

    def _by_manifest(self) -> None:
        manifest = json.loads((self._out / "manifest.json").read_text())
        for file in manifest["files"]:
            data = (self._out / file["path"]).read_bytes()
            if hashlib.sha256(data).hexdigest() != file["sha256"]:
                self.torn.append(file["path"])
        self.seen.append((manifest["dataset_digest"], manifest["complete"], sum(f["rows"] for f in manifest["files"])))

    def _by_card(self) -> None:
        card = yaml.safe_load((self._out / "README.md").read_text().split("---\n")[1])
        for entry in card["configs"][0]["data_files"]:
            for path in entry["path"]:
                pq.ParquetFile(self._out / path).read()

    def end(self) -> None:
        self._ended.set()
        self.join(30)


def test_a_concurrent_reader_sees_only_complete_published_versions(wanted: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    reader = Reader(out)
    reader.start()
    short = synth_ray.run(job(tmp_path, str(out), plan=PLAN, budget={"max_seconds": 0.6}, models=slow_teacher())).manifest
    complete = synth_ray.run(job(tmp_path, str(out), plan=PLAN)).manifest
    nearer = {"compares": ["prompt"], "threshold": 0.5, "bands": 21, "rows_per_band": 6}  # the banding of the staged chunks
    changed = synth_ray.run(job(tmp_path, str(out), plan=PLAN, dedup=nearer)).manifest
    reader.end()
    assert reader.torn == []
    versions = {
        (m["dataset_digest"], m["complete"], m["rows"]["accepted"] + m["rows"]["real"]) for m in (short, complete, changed)
    }
    assert set(reader.seen) <= versions
    assert (complete["dataset_digest"], short["complete"], complete["complete"]) == (wanted, False, True)
    assert len(set(reader.seen)) >= 2
