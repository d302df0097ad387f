"""One to eight replicas on Ray with a scripted teacher of a GPU's latency: rows per second as a share of linear scaling.

Measured from the moment all replicas are ready to nine tenths of the rows, without start and tail. Where this machine's cores
are the limit and not the replicas, the share falls: the second rate shows that. Last, one replica of three is killed: seconds
until three are ready again, and the longest time without any answer meanwhile.
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
from bench.results import report
from bench.route import job

RUNS = {
    32: (1, 2, 4, 8),
    256: (1, 4),
}  # replica counts by rows per second of a replica: 64 at once, of 2 s or of 0.25 s
SECONDS = 20


def run_one(replicas: int, rate: int) -> dict[str, float]:
    """One run; called in its own process."""
    import synth_ray

    rows = replicas * rate * SECONDS
    marks: list[tuple[float, int, float]] = []

    def watch(tally: Any) -> None:
        is_ready, is_late = tally.replicas == replicas, tally.requests_done >= 0.9 * rows
        if (not marks and is_ready) or (len(marks) == 1 and is_late):
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
    """Kill one replica of three with SIGKILL after a third of the rows; called in its own process."""
    import synth_ray

    rows = 3 * rate * SECONDS * 2
    killed, restored, gap, last = 0.0, 0.0, 0.0, (0, 0.0)

    def watch(tally: Any) -> None:
        nonlocal killed, restored, gap, last
        now = time.monotonic()
        if not killed and tally.replicas == 3 and tally.requests_done > rows / 3:
            victim = next(pid for pid in tree(os.getpid()) if "ray::TeacherActor" in title(pid))
            os.kill(victim, signal.SIGKILL)
            killed, last = now, (tally.requests_done, now)
        if killed and tally.requests_done > last[0]:
            gap = gap if restored else max(gap, now - last[1])
            last = (tally.requests_done, now)
        if killed and not restored and tally.replicas_lost and tally.replicas == 3:
            restored = now

    with tempfile.TemporaryDirectory() as folder:
        document = job(Path(folder), rows, "ray")
        document["models"]["teacher"]["script"] |= {"latency_s": 64 / rate, "concurrency": 64}
        document["cluster"] |= {"teachers": 3, "min_teachers": 3, "cpus_per_teacher": 0.1}
        manifest = synth_ray.run(document, watch=watch).manifest
    return {"seconds to three again": round(restored - killed, 1), "longest without an answer, s": round(gap, 2)} | {
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
        of_one = 0.0
        for replicas in counts:
            command = [sys.executable, "-m", "bench.replicas", "--one", str(replicas), "--rate", str(rate)]
            output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            result = json.loads(output.splitlines()[-1])
            of_one = of_one or result["rows/s"]
            rows.append(
                {
                    "rows/s a replica can": rate,
                    "replicas": replicas,
                    "rows/s": round(result["rows/s"], 1),
                    "share of linear": round(result["rows/s"] / (replicas * of_one), 3),
                    "driver, cores": round(result["driver"], 2),
                    "load average": round(os.getloadavg()[0], 1),
                }
            )
    failed_over = subprocess.run(
        [sys.executable, "-m", "bench.replicas", "--failover"], stdout=subprocess.PIPE, text=True, check=True
    )
    rows.append({"rows/s a replica can": "one of three killed", "replicas": 3} | json.loads(failed_over.stdout.splitlines()[-1]))
    report("replicas", rows, packages=("ray",))


if __name__ == "__main__":
    main()
