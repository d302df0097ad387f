"""Real vLLM on Ray: the engine process is killed mid-chunk, its actor ends, and a new replica answers the rest."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import synth_ray
from synth_ray.dataset.ledger import Ledger
from synth_ray.storage import open_storage
from tests.conftest import TINY_TEACHER
from tests.faults.test_killed_actors import actors, processes

ENGINE = "synth_ray.ask.vllm.loop"
ENGINE_ARGS = {"dtype": "bfloat16", "max_num_seqs": 8, "max_model_len": 512, "enforce_eager": True}


def committed_bytes(out: Path) -> dict[str, str]:
    """The sha256 of every commit record and every committed chunk, by path."""
    ledger = Ledger(open_storage(str(out)))
    paths = [
        p for chunk in ledger.committed_chunks() for p in (f"_synth/commits/{chunk:08d}.json", ledger.read_commit(chunk).object)
    ]
    return {path: hashlib.sha256((out / path).read_bytes()).hexdigest() for path in paths}


@pytest.mark.vllm
@pytest.mark.ray
def test_an_engine_killed_mid_chunk_is_replaced_and_committed_chunks_do_not_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(
        "VLLM_ENABLE_V1_MULTIPROCESSING", "1"
    )  # a setting that hangs inside Ray actors, which the engine must override
    seeds = tmp_path / "seeds.jsonl"
    seeds.write_text("".join(json.dumps({"prompt": f"Write one new customer message, number {i}:"}) + "\n" for i in range(96)))
    job: dict[str, Any] = {
        "name": "killed-engine",
        "seeds": str(seeds),
        "recipe": "distill",
        "models": {"teacher": {"model": str(TINY_TEACHER), "engine_args": ENGINE_ARGS}},
        "sampling": {"max_tokens": 48},
        "plan": {"chunk_requests": 8, "window_chunks": 3},
        "split": {"allow_synthetic_only_eval": True},
        "output": str(tmp_path / "out"),
        "cluster": {"engine": "ray", "cpus_per_teacher": 0.5, "in_flight": 12},
        "limits": {"engine_replacements": 1, "journal_flush_s": 0.5},
    }
    other_processes = set(processes(ENGINE))
    before: dict[str, str] = {}
    marks: dict[str, float] = {}

    def watch(tally: Any) -> None:
        now = time.monotonic()
        if not before and tally.chunks_admitted >= 2 and tally.in_flight and (pids := set(processes(ENGINE)) - other_processes):
            os.kill(pids.pop(), signal.SIGKILL)
            before.update(committed_bytes(tmp_path / "out"))
            marks["killed"] = now
        if before and tally.replicas_lost:
            marks.setdefault("noticed", now)
            marks.setdefault("done", tally.requests_done)
        if "noticed" in marks and tally.replicas and tally.requests_done > marks["done"]:
            marks.setdefault("answered", now)

    result = synth_ray.run(job, watch=watch)
    rows = result.manifest["rows"]
    assert result.manifest["complete"]
    assert rows["requested"] == 96 == rows["accepted"] + sum(rows["rejected"].values()) + sum(rows["failed"].values())
    assert "engine_error" not in rows["failed"]
    assert len(before) >= 4
    assert before.items() <= committed_bytes(tmp_path / "out").items()
    assert "replacing it" in caplog.text
    assert actors("TeacherActor") == []
    assert set(processes(ENGINE)) == other_processes
    noticed, answered = (marks[event] - marks["killed"] for event in ("noticed", "answered"))
    with capsys.disabled():
        sys.stdout.write(f"\nengine killed: noticed after {noticed:.1f} s, answering again after {answered:.1f} s\n")
