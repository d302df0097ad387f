"""The driver's CPU time per thousand rows and per chunk, and whether it grows with the number of rows.

A whole run on Ray with a teacher that costs nothing, all stages on. CPU time is read per process from /proc: the driver's must
fit on one machine for all replicas, the others' is spread over the cluster. `÷ cores` is rows per second divided by what this
machine's cores could do if they did only the measured work.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from bench.processes import cpu_s, title, tree
from bench.results import report
from bench.route import job

RUNS = ((20_000, 1024), (200_000, 1024), (20_000, 128))


class CpuSampler:
    """CPU seconds of this process and its descendants, by kind; sampled, so that processes that ended are counted."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[int, str], float] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._stopped.wait(0.5):
            self.sample_once()

    def sample_once(self) -> None:
        for pid in tree(os.getpid()):
            process_title = title(pid)
            kind = (
                "driver"
                if pid == os.getpid()
                else next((k for k in ("Teacher", "Stager") if f"ray::{k}" in process_title), "ray")
            )
            if process_title:
                self._seconds[pid, kind] = cpu_s(pid)

    def by_kind(self) -> dict[str, float]:
        self._stopped.set()
        by_kind: dict[str, float] = {}
        for (_, kind), seconds in self._seconds.items():
            by_kind[kind] = by_kind.get(kind, 0.0) + seconds
        return by_kind


def run_one(rows: int, chunk: int) -> dict[str, Any]:
    """One run; called in its own process."""
    import synth_ray

    ready: list[tuple[float, float]] = []
    sampler = CpuSampler()

    def watch(tally: Any) -> None:
        if not ready and tally.replicas:
            ready.append((time.monotonic(), time.process_time()))
        sampler.sample_once() if tally.requests_done >= rows else None

    with tempfile.TemporaryDirectory() as folder:
        document = job(Path(folder), rows, "ray")
        document["plan"]["chunk_requests"] = chunk
        synth_ray.run(document, watch=watch)
        ended = time.monotonic(), time.process_time()
    began = ready[0]
    return {"wall_s": ended[0] - began[0], "driver_s": ended[1] - began[1], "cpu": sampler.by_kind()}


def measure(rows: int, chunk: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.driver", "--one", str(rows), "--chunk", str(chunk)]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    result = json.loads(output.splitlines()[-1])
    cpu, driver, rate = result["cpu"], result["driver_s"], rows / result["wall_s"]
    per_row = (driver + cpu.get("Teacher", 0) + cpu.get("Stager", 0)) / rows
    return {
        "rows": rows,
        "chunk": chunk,
        "rows/s": round(rate),
        "driver CPU s per 1k rows": round(1000 * driver / rows, 4),
        "rows/s one driver core carries": round(rows / driver),
        "teacher CPU s per 1k rows": round(1000 * cpu.get("Teacher", 0) / rows, 4),
        "stager CPU s per 1k rows": round(1000 * cpu.get("Stager", 0) / rows, 4),
        "÷ cores": round(rate * per_row / (os.cpu_count() or 1), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--chunk", type=int, default=1024, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(run_one(arguments.one, arguments.chunk)))
        return
    rows = [measure(*run) for run in RUNS]
    small, large, small_chunks = rows
    key = "driver CPU s per 1k rows"
    chunks = small["rows"] / small_chunks["chunk"] - small["rows"] / small["chunk"]
    fixed = (small_chunks[key] - small[key]) * small["rows"] / 1000 / chunks
    rows.append({"rows": "ten times the rows, driver CPU a row", key: round(large[key] / small[key], 3)})
    rows.append({"rows": "a chunk's fixed cost, driver CPU ms", key: round(1000 * fixed, 2)})
    report("driver", rows, packages=("ray", "pyarrow"))


if __name__ == "__main__":
    main()
