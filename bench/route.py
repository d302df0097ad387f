"""A whole run with a teacher that costs nothing: rows per second, and whether memory grows with the rows.

Each run has its own process; its peak is the proportional set size (PSS) of its whole process tree, sampled twice a
second, so that pages shared between Ray's processes count once. The index of kept rows grows by design and is listed apart.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from bench.processes import pss, tree
from bench.results import report

SIZES = (50_000, 200_000)
SCRIPT = {"words": 40, "repeat_share": 0.05, "fail_share": 0.001, "concurrency": 1024}
WORDS = ("order", "parcel", "lamp", "refund", "invoice", "street", "week", "voucher", "colour", "box", "size", "battery", "stock")


def job(folder: Path, rows: int, engine: str) -> dict[str, Any]:
    seeds = folder / "seeds.jsonl"
    with seeds.open("w") as file:
        for n in range(5_000):
            file.write(
                json.dumps({"prompt": f"Message {n}: the {WORDS[n % 13]} of my {WORDS[n * 7 % 13]} is wrong. What now?"}) + "\n"
            )
    return {
        "name": f"route-{rows}",
        "seeds": str(seeds),
        "recipe": "distill",
        "models": {"teacher": {"engine": "scripted", "script": dict(SCRIPT)}},
        "plan": {"requests": rows},
        "split": {"allow_synthetic_only_eval": True},
        "output": str(folder / "out"),
        "cluster": {"engine": engine},
    }


def run_one(rows: int, engine: str) -> dict[str, Any]:
    """One run and its figures; called in its own process."""
    import synth_ray

    index_bytes = 0

    def watch(tally: Any) -> None:
        nonlocal index_bytes
        index_bytes = tally.index_bytes

    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        manifest = synth_ray.run(job(Path(folder), rows, engine), watch=watch).manifest
        seconds = time.monotonic() - began
    assert manifest["rows"]["requested"] == rows
    return {"seconds": seconds, "index_bytes": index_bytes, "accepted": manifest["rows"]["accepted"]}


def measure(rows: int, engine: str) -> dict[str, Any]:
    child = subprocess.Popen(
        [sys.executable, "-m", "bench.route", "--one", str(rows), "--engine", engine], stdout=subprocess.PIPE, text=True
    )
    peak = Peak(child.pid)
    output, _ = child.communicate()
    peak.stop()
    if child.returncode:
        raise SystemExit(f"bench-route: the run of {rows} rows on '{engine}' failed; its error is above")
    result = json.loads(output.splitlines()[-1])
    return {
        "engine": engine,
        "rows": rows,
        "seconds": round(result["seconds"], 1),
        "rows/s": round(rows / result["seconds"]),
        "peak MB": round(peak.bytes / 2**20),
        "index MB": round(result["index_bytes"] / 2**20),
        "peak - index MB": round((peak.bytes - result["index_bytes"]) / 2**20),
    }


class Peak:
    """The largest PSS of a process and its descendants, sampled twice a second."""

    def __init__(self, pid: int) -> None:
        self.bytes = 0
        self._pid = pid
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._stopped.wait(0.5):
            self.bytes = max(self.bytes, sum(map(pss, tree(self._pid))))

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--engine", default="local", help=argparse.SUPPRESS)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="rows of each run")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(run_one(arguments.one, arguments.engine)))
        return
    rows = []
    for engine in ("local", "ray"):
        runs = [measure(size, engine) for size in arguments.sizes]
        for run in runs:
            run["memory ÷ first"] = round(run["peak - index MB"] / runs[0]["peak - index MB"], 3)
        rows += runs
    report("route", rows, packages=("ray", "pyarrow", "numba", "presidio-analyzer"))


if __name__ == "__main__":
    main()
