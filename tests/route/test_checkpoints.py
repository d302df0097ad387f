"""A run that goes on takes up the last checkpoint of admission: it saves work and changes nothing."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import synth_ray
from bench.digests import ROOT, scripted
from synth_ray.dataset import part
from synth_ray.dedup import semantic
from synth_ray.meter.tally import Tally
from synth_ray.publish import state
from synth_ray.publish.checkpoint import points
from synth_ray.publish.publication import Publication
from tests.route.test_rating import embedding_job

OF_ONE_RUN = {"cost", "throughput", "estimate", "engines", "created_at", "epoch"}
CHECKPOINTS = "_synth/admission"
SIZE = 5


class Crash(Exception):
    """Of the process, as far as the output can tell."""


def small(name: str, folder: Path, *, every: int = 2) -> dict[str, Any]:
    document = scripted(name, folder)
    document["plan"] = {**document.get("plan", {}), "chunk_requests": SIZE}
    document["limits"] = {**document.get("limits", {}), "checkpoint_requests": every * SIZE}
    document["cluster"]["in_flight"] = 20
    return document


def crash_at(document: dict[str, Any], chunks: int) -> None:
    def watch(tally: Tally) -> None:
        if tally.chunks_admitted >= chunks:
            raise Crash

    with pytest.raises(Crash):
        synth_ray.run(document, watch=watch)


def manifest_of(document: dict[str, Any]) -> dict[str, Any]:
    synth_ray.run(document)
    manifest = json.loads((Path(document["output"]["path"]) / "manifest.json").read_text())
    return {name: value for name, value in manifest.items() if name not in OF_ONE_RUN}


@pytest.fixture(autouse=True)
def _in_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("name", ["fill", "stand_in", "judged"])
def test_a_run_that_crashed_twice_publishes_what_one_in_a_piece_does(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(part, "_SMALLEST_CUT_BYTES", 2_000)
    caplog.set_level(logging.INFO, "synth_ray.publish.progress")
    broken = small(name, tmp_path / "broken")
    if name != "judged":  # the index is on disk in some of them
        broken["dedup"] = {**broken.get("dedup", {}), "spill_bytes": 1_000_000}
    crash_at(broken, 3)
    crash_at(broken, 4)
    assert manifest_of(broken) == manifest_of(small(name, tmp_path / "whole"))
    assert len([line for line in caplog.messages if line.startswith("goes on from the checkpoint at chunk ")]) == 2


@pytest.mark.parametrize("place", ["memory", "disk", pytest.param("shards", marks=pytest.mark.ray)])
def test_a_run_that_compares_vectors_goes_on_with_them_wherever_they_are(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(semantic, "_EXACT_ROWS", 16)  # cells are made after 16 and after 64 rows
    caplog.set_level(logging.INFO, "synth_ray.publish.progress")
    plan, limits = {"requests": 120, "chunk_requests": SIZE}, {"checkpoint_requests": 2 * SIZE}
    changes = {
        "memory": {},
        "disk": {"spill_bytes": 1_000_000},
        "shards": {"engine": "ray", "index_shards": 2, "cpus_per_teacher": 0.5},
    }[place]

    def document(name: str, **more: Any) -> dict[str, Any]:
        (tmp_path / name).mkdir()
        made = embedding_job(tmp_path / name, threshold=0.9, plan=plan, limits=limits, output=str(tmp_path / name / "out"))
        section = "cluster" if place == "shards" else "dedup"
        made[section] = {**made.get(section, {}), **more}
        made["output"] = {"path": made["output"]}
        return made

    whole = manifest_of(document("whole"))
    broken = document("broken", **changes)
    crash_at(broken, 3)
    crash_at(broken, 16)
    assert whole["rows"]["rejected"]["semantic_duplicate"] > 5 and whole["rows"]["accepted"] > 64
    found = manifest_of(broken)
    assert (found["rows"], found["dataset_digest"]) == (whole["rows"], whole["dataset_digest"])
    assert len([line for line in caplog.messages if line.startswith("goes on from the checkpoint at chunk ")]) == 2


def test_real_rows_and_seeds_are_in_the_first_checkpoint_and_are_not_read_into_the_index_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part, "_SMALLEST_CUT_BYTES", 2_000)
    real = tmp_path / "real.jsonl"
    real.write_text(
        "".join(json.dumps({"prompt": f"Held out {n}?", "answer": f"Kept for the test, row {n}."}) + "\n" for n in range(9))
    )
    broken, whole = (small("mix", tmp_path / name) for name in ("broken", "whole"))
    for document in (broken, whole):
        document["dedup"] = {**document.get("dedup", {}), "seeds": True}
        document["split"]["real"] = str(real)
    manifest = manifest_of(whole)
    assert manifest["rows"]["real"] > 9 and manifest["rows"]["accepted"]

    def refuse(*_: Any) -> None:
        raise AssertionError

    crash_at(broken, 1)
    monkeypatch.setattr(Publication, "_admit_what_is_real", refuse)
    crash_at(broken, 3)
    assert manifest_of(broken) == manifest


@pytest.mark.parametrize("name", ["build", "judged"])
def test_a_longer_plan_goes_on_from_the_checkpoint_of_the_shorter_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(part, "_SMALLEST_CUT_BYTES", 2_000)
    caplog.set_level(logging.INFO, "synth_ray.publish.progress")
    manifests = []
    for folder in ("kept", "deleted"):
        document = small(name, tmp_path / folder)
        requests = document["plan"].get("requests", 40)
        document["plan"]["requests"] = requests // 2 + 1  # its last chunk is shorter than the others
        synth_ray.run(document)
        document["plan"]["requests"] = requests
        if folder == "deleted":
            shutil.rmtree(Path(document["output"]["path"]) / CHECKPOINTS)
        synth_ray.run(document, extend=True)
        manifest = json.loads((Path(document["output"]["path"]) / "manifest.json").read_text())
        manifests.append({name: value for name, value in manifest.items() if name not in OF_ONE_RUN})
    assert manifests[0] == manifests[1]
    assert len([line for line in caplog.messages if line.startswith("goes on from the checkpoint at chunk ")]) == 1


def test_a_checkpoint_that_is_torn_or_of_another_job_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    document = small("build", tmp_path)
    crash_at(document, 5)
    folder = Path(document["output"]["path"]) / CHECKPOINTS
    newest, _ = sorted(folder.glob("at-*"), reverse=True)
    newest.write_bytes(newest.read_bytes()[:-1])
    crash_at(document, 4)
    assert f"{newest.name}: left out, it is torn" in caplog.text
    document["dedup"] = {**document.get("dedup", {}), "bucket_cap": 7}
    manifest = manifest_of(document)
    assert "it is of another job or version" in caplog.text
    assert (
        manifest["dataset_digest"]
        == manifest_of(small("build", tmp_path / "new") | {"dedup": document["dedup"]})["dataset_digest"]
    )


def test_a_checkpoint_whose_files_are_gone_or_whose_chunk_was_made_again_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(part, "_SMALLEST_CUT_BYTES", 2_000)
    document = small("build", tmp_path)
    crash_at(document, 3)
    next((Path(document["output"]["path"]) / "data").rglob("part-*")).unlink()
    crash_at(document, 3)
    assert "is gone or torn; chunks are decided again" in caplog.text
    commit = Path(document["output"]["path"]) / "_synth/commits/00000000.json"
    later = commit.stat().st_mtime + 60
    os.utime(commit, (later, later))
    whole = manifest_of(document)
    assert "a chunk was committed again after it" in caplog.text
    assert whole["rows"] == manifest_of(small("build", tmp_path / "new"))["rows"]
    commit.unlink()
    assert manifest_of(document)["rows"] == whole["rows"] and commit.exists()
    assert "a chunk that was committed before it is gone" in caplog.text


def test_no_replica_is_held_while_committed_chunks_are_admitted_and_a_signal_is_heard(tmp_path: Path) -> None:
    document = small("build", tmp_path, every=0)
    crash_at(document, 6)
    output = Path(document["output"]["path"])
    earlier = len(list((output / "_synth/commits").iterdir()))
    assert not (output / CHECKPOINTS).exists()
    behind: list[Tally] = []

    def stop_after_two(tally: Tally) -> None:
        behind.append(tally)
        if tally.chunks_admitted == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    stopped = synth_ray.run(document, watch=stop_after_two)
    assert stopped.exit_code == 4 and not stopped.manifest["complete"]
    assert len(behind) <= 4 < earlier and all(tally.replicas_starting == 0 for tally in behind)
    finished = synth_ray.run(document)
    assert finished.manifest["complete"]
    published = (output / "manifest.json").read_bytes()
    again = synth_ray.run(document, watch=stop_after_two)
    assert again.exit_code == 4 and "SIGTERM" in again.stopped
    assert (output / "manifest.json").read_bytes() == published  # the smaller version is not published


def test_checkpoints_grow_further_apart() -> None:
    at = points(128)
    first = [next(at) for _ in range(200)]
    assert first[:3] == [128, 256, 384]
    assert all(later - earlier <= max(128, earlier // 64) for earlier, later in pairwise(first))
    assert sum(1 for point in first if point < 100_000) < 300


def test_what_reads_a_checkpoint_makes_counts_and_nothing_else() -> None:
    counts = {"a": Counter({("x", 1): 2}), "b": np.arange(3), "c": {1, 2}, "d": np.float64(0.5)}
    read = state.from_arrays(state.to_arrays(counts))
    assert read["a"] == counts["a"] and read["c"] == {1, 2} and read["b"].tolist() == [0, 1, 2]
    for harm in (os.system, Crash(), object()):
        with pytest.raises(TypeError, match="wanted counts"):
            state.to_arrays({"x": harm})
    for path in ("os:system", "synth_ray.publish.state:fill"):
        text = json.dumps(["d", ["x", ["o", path, ["d"]]]]).encode()
        with pytest.raises(ValueError, match="wanted classes that count"):
            state.from_arrays(state.to_arrays({}) | {"state": np.frombuffer(text, np.uint8)})
