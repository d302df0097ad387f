"""What the driver costs: its processor time per thousand rows and per chunk, and whether that grows with the rows.

The route on Ray with a teacher that costs nothing, all stages on. Processor time is read per process from /proc: the driver's is
what one machine must carry for all replicas, the others' is spread over the cluster. `÷ cores` is rows per second beside what the
cores of this machine could do if they did nothing but the work that was measured.
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
from bench.results import tell
from bench.route import job

RUNS = ((20_000, 1024), (200_000, 1024), (20_000, 128))


class Used:
    """Processor seconds of this process and everything under it, by what it does; sampled, so that ended processes count."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[int, str], float] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._stopped.wait(0.5):
            self.look()

    def look(self) -> None:
        for pid in tree(os.getpid()):
            named = title(pid)
            kind = "driver" if pid == os.getpid() else next((k for k in ("Teacher", "Stager") if f"ray::{k}" in named), "ray")
            if named:
                self._seconds[pid, kind] = cpu_s(pid)

    def by_kind(self) -> dict[str, float]:
        self._stopped.set()
        found: dict[str, float] = {}
        for (_, kind), seconds in self._seconds.items():
            found[kind] = found.get(kind, 0.0) + seconds
        return found


def run_one(rows: int, chunk: int) -> dict[str, Any]:
    """In a process of its own."""
    import synth_ray

    up: list[tuple[float, float]] = []
    used = Used()

    def watch(tally: Any) -> None:
        if not up and tally.replicas:
            up.append((time.monotonic(), time.process_time()))
        used.look() if tally.requests_done >= rows else None

    with tempfile.TemporaryDirectory() as folder:
        document = job(Path(folder), rows, "ray")
        document["plan"]["chunk_requests"] = chunk
        synth_ray.run(document, watch=watch)
        ended = time.monotonic(), time.process_time()
    began = up[0]
    return {"wall_s": ended[0] - began[0], "driver_s": ended[1] - began[1], "cpu": used.by_kind()}


def measured(rows: int, chunk: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.driver", "--one", str(rows), "--chunk", str(chunk)]
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    found = json.loads(told.splitlines()[-1])
    cpu, driver, rate = found["cpu"], found["driver_s"], rows / found["wall_s"]
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
    rows = [measured(*run) for run in RUNS]
    small, large, cut = rows
    key = "driver CPU s per 1k rows"
    chunks = small["rows"] / cut["chunk"] - small["rows"] / small["chunk"]
    fixed = (cut[key] - small[key]) * small["rows"] / 1000 / chunks
    rows.append({"rows": "ten times the rows, driver CPU a row", key: round(large[key] / small[key], 3)})
    rows.append({"rows": "a chunk's fixed cost, driver CPU ms", key: round(1000 * fixed, 2)})
    tell("driver", rows, packages=("ray", "pyarrow"))


if __name__ == "__main__":
    main()
