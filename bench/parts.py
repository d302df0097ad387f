"""Short answers with one driver, and with a driver for each part of the job: rows a second, and what a row costs.

Each way is run in turn, `--rounds` times, in processes of its own; the medians are reported. `asked rows/s` is until everything
is staged, for parts without the admission that follows; with one driver the two go on at the same time.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from bench.results import report
from bench.scale_piece import job

_WORDS = 10


def run(document: dict[str, Any]) -> float:
    """Seconds until the dataset is published."""
    began = time.monotonic()
    code = f"import synth_ray; synth_ray.run({document!r}, part_options=['--quiet'])"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def run_parts(document: dict[str, Any]) -> float:
    """Seconds until the parts have staged everything."""
    began = time.monotonic()
    code = "from synth_ray.job.load import job_from; from synth_ray.route.part_processes import run_parts; "
    code += f"run_parts(job_from({document!r}), options=['--quiet'])"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def one_round(folder: Path, rows: int, parts: int) -> dict[str, float]:
    document = job(folder, rows, "local", _WORDS)
    document["plan"]["parts"] = document["cluster"]["teachers"] = parts
    before, staged_s = _cpu_s(), run_parts(document) if parts > 1 else 0.0
    wall_s = run(document)
    total_s = staged_s + wall_s
    return {
        "rows/s": rows / total_s,
        "asked rows/s": rows / (staged_s or total_s),
        "all CPU s per 1k rows": 1000 * (_cpu_s() - before) / rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--parts", type=int, nargs="*", default=(1, 2))
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rounds: dict[int, list[dict[str, float]]] = {parts: [] for parts in arguments.parts}
    for _ in range(arguments.rounds):
        for parts, measured in rounds.items():
            with tempfile.TemporaryDirectory() as folder:
                measured.append(one_round(Path(folder), arguments.rows, parts))
    table = [
        {"parts": parts, "rows": arguments.rows} | {name: round(median(one[name] for one in measured), 3) for name in measured[0]}
        for parts, measured in rounds.items()
    ]
    report("parts", table, packages=("pyarrow", "numba"))


if __name__ == "__main__":
    main()
