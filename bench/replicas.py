"""One to eight replicas on Ray with a scripted teacher of a GPU's latency: rows per second as a share of linear.

Measured between the moment all replicas are up and nine tenths of the rows: neither start nor tail counts. At a rate where
this machine's cores are the limit, not the replicas, the share falls: that is told by the second rate.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.results import tell
from bench.route import job

COUNTS = (1, 2, 4, 8)
RATES = (32, 256)  # rows per second of one replica: 64 at once, of two seconds and of a quarter of one
SECONDS = 20


def run_one(replicas: int, rate: int) -> dict[str, float]:
    """In a process of its own."""
    import synth_ray

    rows = replicas * rate * SECONDS
    marks: list[tuple[float, int, float]] = []

    def watch(tally: Any) -> None:
        is_up, is_late = tally.teachers == replicas, tally.requests_done >= 0.9 * rows
        if (not marks and is_up) or (len(marks) == 1 and is_late):
            marks.append((time.monotonic(), tally.requests_done, time.process_time()))

    with tempfile.TemporaryDirectory() as folder:
        document = job(Path(folder), rows, "ray")
        document["models"]["teacher"]["script"] |= {"latency_s": 64 / rate, "concurrency": 64}
        document["cluster"] |= {"teachers": replicas, "min_teachers": replicas, "cpus_per_teacher": 0.1}
        document["plan"]["chunk_requests"] = 256
        synth_ray.run(document, watch=watch)
    (began, before, cpu), (ended, after, cpu_after) = marks
    return {"rows/s": (after - before) / (ended - began), "driver": (cpu_after - cpu) / (ended - began)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--rate", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(run_one(arguments.one, arguments.rate)))
        return
    rows = []
    for rate in RATES:
        alone = 0.0
        for replicas in COUNTS:
            command = [sys.executable, "-m", "bench.replicas", "--one", str(replicas), "--rate", str(rate)]
            told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            found = json.loads(told.splitlines()[-1])
            alone = alone or found["rows/s"]
            rows.append(
                {
                    "rows/s a replica can": rate,
                    "replicas": replicas,
                    "rows/s": round(found["rows/s"], 1),
                    "share of linear": round(found["rows/s"] / (replicas * alone), 3),
                    "driver, cores": round(found["driver"], 2),
                    "load average": round(os.getloadavg()[0], 1),
                }
            )
    tell("replicas", rows, packages=("ray",))


if __name__ == "__main__":
    main()
