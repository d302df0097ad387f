"""A run is killed while a tool with effects is at work, and after its result: what was done once is never done again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from synth_ray.ask.segments import read_journal
from synth_ray.ask.worker import AskWorker
from synth_ray.job.cores import usable_cores
from synth_ray.job.load import job_from
from synth_ray.records import Request, Seed
from synth_ray.storage import open_storage
from synth_ray.workers.local_pool import LocalPool
from synth_ray.workers.pool import Event, ReplicaLost, ReplicaReady
from tests.child_processes import wait_until

ROWS = 3
DESK = "tests.unit.toolbox.desk:"
ANSWER = """\
{%- set done = messages | selectattr('role', 'equalto', 'tool') | list | length -%}
{%- set log = messages[0].content -%}
{%- if done < 2 -%}
{%- set file = log if not done else log + '.later' -%}
<tool_call>{"name": {{ ['mark', 'wait'][done] | tojson }}, "arguments": {"file": {{ file | tojson }}}}</tool_call>
{%- else -%} It is done for {{ log[-1] }} now. {%- endif -%}"""


def job_in(folder: Path) -> Path:
    """A job of which every row makes a mark in a file of its own, waits, waits once more, and answers."""
    logs = [str(folder / "logs" / f"log{n}") for n in range(ROWS)]
    (folder / "logs").mkdir()
    (folder / "seeds.jsonl").write_text("".join(json.dumps({"prompt": log}) + "\n" for log in logs))
    effects: dict[str, Any] = {"function": DESK + "mark", "writes": [str(folder / "logs")], "seconds": 60}
    free: dict[str, Any] = {"function": DESK + "wait", "reads": [str(folder / "logs")], "seconds": 60}
    job = {
        "name": "killed-tools",
        "seeds": str(folder / "seeds.jsonl"),
        "recipe": {"name": "converse", "turns": 1, "call": "native", "tools": [effects, free]},
        "models": {"teacher": {"engine": "scripted", "script": {"answers": [ANSWER]}}},
        "split": {"fractions": {"train": 1.0}},
        "output": {"path": str(folder / "out"), "license": "apache-2.0"},
        "cluster": {"engine": "local"},
        "limits": {"journal_flush_s": 60},
    }
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(job))
    return path


def start(job: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "synth_ray.cli.main", "run", str(job), "--engine", "local"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)


def let_go(folder: Path, suffix: str) -> None:
    for n in range(ROWS):
        (folder / "logs" / f"log{n}{suffix}.go").touch()


def kill_and_let_go(run: subprocess.Popen[bytes], folder: Path) -> None:
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    let_go(folder, "")
    let_go(folder, ".later")


def finish(job: Path) -> str:
    out, _ = start(job).communicate(timeout=240)
    return out[-2000:].decode()


def marks(folder: Path) -> list[str]:
    return [path.read_text() for path in sorted((folder / "logs").glob("log?"))]


def ended_calls(out: Path) -> int:
    """How many results of calls with effects the journal holds."""
    answers = read_journal(open_storage(str(out)), 0).values() if out.exists() else ()
    return sum(key.startswith("call/") and not key.endswith("/begun") for of_request in answers for key in of_request)


def results(folder: Path) -> list[str]:
    """The verdict or reason of every row."""
    found: list[str] = []
    for path in (p for p in (folder / "out").rglob("*.parquet") if "_synth" not in p.parts):
        rows = pq.read_table(path).to_pylist()
        found += [row.get("reason") or "accepted" for row in rows if "messages" in row]
    return sorted(found)


def test_a_run_killed_at_a_call_fails_the_rows_whose_calls_had_begun_and_makes_the_others(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    run = start(job)
    at_once = min(ROWS, max(2, usable_cores()))
    wait_until(lambda: len(marks(tmp_path)) == at_once, run)
    kill_and_let_go(run, tmp_path)
    out = finish(job)
    assert marks(tmp_path) == ["x"] * ROWS, out
    assert results(tmp_path) == ["accepted"] * (ROWS - at_once) + ["tool_interrupted"] * at_once, out


def test_a_run_killed_after_the_results_replays_them(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    run = start(job)
    let_go(tmp_path, "")
    wait_until(lambda: ended_calls(tmp_path / "out") == ROWS, run)
    kill_and_let_go(run, tmp_path)
    out = finish(job)
    assert marks(tmp_path) == ["x"] * ROWS, out
    assert results(tmp_path) == ["accepted"] * ROWS, out


def test_a_dead_engine_is_told_of_once_no_call_of_its_worker_can_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver reads the journal at once and asks again: a call that begins after that would be made twice."""
    document = yaml.safe_load(job_in(tmp_path).read_text())
    document["models"]["teacher"]["script"]["poison"] = "kill"
    pool = LocalPool(job_from(document))
    close = AskWorker.close
    monkeypatch.setattr(AskWorker, "close", lambda worker: (time.sleep(1), close(worker)))  # what is not waited for shows
    at_once = max(2, usable_cores())
    prompts = [str(tmp_path / "logs" / f"log{n}") for n in range(at_once + 1)]  # one of them waits for a process
    pool.open()
    try:
        wait_for(pool, has(ReplicaReady))
        pool.submit(0, [request(n, prompt) for n, prompt in enumerate(prompts)], {})
        wait_for(pool, lambda _: len(marks(tmp_path)) >= at_once)
        pool.submit(0, [request(len(prompts), "kill")], {})
        wait_for(pool, has(ReplicaLost))
        begun = [key for answers in read_journal(open_storage(str(tmp_path / "out")), 0).values() for key in answers]
        for prompt in prompts:
            Path(f"{prompt}.go").touch()
    finally:
        pool.close()
    assert len(begun) == len(set(begun)) >= at_once
    assert len([key for key in begun if key.endswith("/begun")]) == at_once == len(marks(tmp_path))


def request(number: int, prompt: str) -> Request:
    return Request(f"r{number}", 0, number, Seed(f"s{number}", "s", "train", {"prompt": prompt}), 1)


def wait_for(pool: LocalPool, holds: Callable[[list[Event]], bool]) -> None:
    """Until it holds of the events of one look; what a thread of the pool raised is raised here."""
    end = time.monotonic() + 240
    while not holds(pool.events(0.02)):
        assert time.monotonic() < end


def has(kind: type) -> Callable[[list[Event]], bool]:
    return lambda events: any(isinstance(event, kind) for event in events)
