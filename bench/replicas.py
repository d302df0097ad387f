"""One to eight replicas on Ray with a scripted teacher of a GPU's latency: rows per second as a share of linear.

Measured between the moment all replicas are up and nine tenths of the rows: neither start nor tail counts. At a rate where
this machine's cores are the limit, not the replicas, the share falls: that is told by the second rate. Last, one replica of three
is killed: seconds until three are up again, and the longest the others went without an answer meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.processes import title, tree
from bench.results import tell
from bench.route import job

RUNS = {32: (1, 2, 4, 8), 256: (1, 4)}  # replicas by rows per second of one: 64 at once, of two seconds and of a quarter
SECONDS = 20


def run_one(replicas: int, rate: int) -> dict[str, float]:
    """In a process of its own."""
    import synth_ray

    rows = replicas * rate * SECONDS
    marks: list[tuple[float, int, float]] = []

    def watch(tally: Any) -> None:
        is_up, is_late = tally.replicas == replicas, tally.requests_done >= 0.9 * rows
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


def failover(rate: int = 32) -> dict[str, Any]:
    """In a process of its own: kill one replica of three with SIGKILL when a third of the rows are there."""
    import synth_ray

    rows = 3 * rate * SECONDS * 2
    killed, back, gap, last = 0.0, 0.0, 0.0, (0, 0.0)

    def watch(tally: Any) -> None:
        nonlocal killed, back, gap, last
        now = time.monotonic()
        if not killed and tally.replicas == 3 and tally.requests_done > rows / 3:
            victim = next(pid for pid in tree(os.getpid()) if "ray::TeacherActor" in title(pid))
            os.kill(victim, signal.SIGKILL)
            killed, last = now, (tally.requests_done, now)
        if killed and tally.requests_done > last[0]:
            gap = gap if back else max(gap, now - last[1])
            last = (tally.requests_done, now)
        if killed and not back and tally.replicas_lost and tally.replicas == 3:
            back = now

    with tempfile.TemporaryDirectory() as folder:
        document = job(Path(folder), rows, "ray")
        document["models"]["teacher"]["script"] |= {"latency_s": 64 / rate, "concurrency": 64}
        document["cluster"] |= {"teachers": 3, "min_teachers": 3, "cpus_per_teacher": 0.1}
        manifest = synth_ray.run(document, watch=watch).manifest
    return {"seconds to three again": round(back - killed, 1), "longest without an answer, s": round(gap, 2)} | {
        "rows": manifest["rows"]["requested"]
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--rate", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--failover", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.failover:
        print(json.dumps(failover()))
        return
    if arguments.one:
        print(json.dumps(run_one(arguments.one, arguments.rate)))
        return
    rows = []
    for rate, counts in RUNS.items():
        alone = 0.0
        for replicas in counts:
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
    told = subprocess.run([sys.executable, "-m", "bench.replicas", "--failover"], stdout=subprocess.PIPE, text=True, check=True)
    rows.append({"rows/s a replica can": "one of three killed", "replicas": 3} | json.loads(told.stdout.splitlines()[-1]))
    tell("replicas", rows, packages=("ray",))


if __name__ == "__main__":
    main()
