"""What the likeliest tokens cost: rows per second of a whole run with k = 8 and without, in turn, on the same machine.

`route` has a scripted teacher, so that only the route's own work is measured; `engine` the bundled teacher on vLLM. Each run has
its own process. Runs with and without follow each other, and the share is of the medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.results import report
from bench.route import SCRIPT, WORDS

ROOT = Path(__file__).parent.parent
K = 8
ENGINE_ARGS = {"dtype": "bfloat16", "max_model_len": 512, "max_num_seqs": 128, "enforce_eager": True}


def job(folder: Path, kind: str, rows: int, k: int) -> dict[str, Any]:
    seeds = folder / "seeds.jsonl"
    with seeds.open("w") as file:
        for n in range(min(rows, 5_000)):
            text = f"Message {n}: the {WORDS[n % 13]} of my {WORDS[n * 7 % 13]} is wrong. What now?"
            file.write(json.dumps({"prompt": text}) + "\n")
    scripted = {"engine": "scripted", "script": dict(SCRIPT, repeat_share=0.0)}
    real = {"model": str(ROOT / "models" / "tiny-teacher"), "engine_args": ENGINE_ARGS}
    return {
        "name": f"kd-{kind}",
        "seeds": str(seeds),
        "recipe": {"name": "distill", **({"top_k_logprobs": k} if k else {})},
        "models": {"teacher": scripted if kind == "route" else real},
        "sampling": {"temperature": 1.0, "max_tokens": 80},
        "plan": {"requests": rows},
        "split": {"allow_synthetic_only_eval": True},
        "output": str(folder / "out"),
        "cluster": {"engine": "local"},
    }


def run_one(kind: str, rows: int, k: int) -> dict[str, Any]:
    """One run and its figures; called in its own process. The engine's start is not in them."""
    import synth_ray

    with tempfile.TemporaryDirectory() as folder:
        began, cpu = time.monotonic(), time.process_time()
        manifest = synth_ray.run(job(Path(folder), kind, rows, k)).manifest
        seconds = time.monotonic() - began - float(manifest["engines"]["teacher"]["start_s"])
        cpu = time.process_time() - cpu
        size = sum(file["bytes"] for file in manifest["files"])
    positions = manifest["top_k"].get("positions", 0)
    return {"seconds": seconds, "cpu": cpu, "bytes": size, "positions": positions, "rows": manifest["rows"]["requested"]}


def measure(kind: str, rows: int, repeats: int) -> list[dict[str, Any]]:
    runs: dict[int, list[dict[str, Any]]] = {0: [], K: []}
    for _ in range(repeats):
        for k, done in runs.items():
            command = [sys.executable, "-m", "bench.kd", "--one", kind, str(rows), str(k)]
            done.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]))
    lines = []
    plain = statistics.median(run["seconds"] for run in runs[0])
    for k, done in runs.items():
        seconds = statistics.median(run["seconds"] for run in done)
        more = statistics.median(run["bytes"] for run in done) - statistics.median(run["bytes"] for run in runs[0])
        lines.append(
            {
                "teacher": "scripted" if kind == "route" else "tiny-teacher, vLLM",
                "k": k,
                "rows": rows,
                "seconds": round(seconds, 1),
                "rows/s": round(rows / seconds),
                "of plain": f"{plain / seconds:.1%}",
                "CPU ms/row": round(1000 * statistics.median(run["cpu"] for run in done) / rows, 3),
                "bytes/token": round(more / done[0]["positions"], 1) if k else 0,
            }
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=3, metavar=("KIND", "ROWS", "K"), help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, default=20_000, help="rows of each run with the scripted teacher")
    parser.add_argument("--engine-rows", type=int, default=1_000, help="rows of each run with the engine; 0 leaves it out")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each kind")
    arguments = parser.parse_args()
    if arguments.one:
        kind, rows, k = arguments.one
        print(json.dumps(run_one(kind, int(rows), int(k))))
        return
    lines = measure("route", arguments.rows, arguments.repeats)
    lines += measure("engine", arguments.engine_rows, arguments.repeats) if arguments.engine_rows else []
    report("kd", lines, packages=("pyarrow", "numpy", "vllm"))


if __name__ == "__main__":
    main()
