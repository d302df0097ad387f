"""What reading, checking, fingerprinting and grouping seeds costs before the first request: time, processor time and memory.

Seeds are made from words by lot: half of them short questions, half of them word problems of about 45 words, every tenth of which
is an earlier one with one word changed. CPU seconds count every process; the peak is this process's, the files not counted.
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

_WORDS = 20_000
_CHILD = """
import json, resource, sys, tempfile, time
from pathlib import Path
from synth_ray.job.load import job_from
from synth_ray.prepare.preparation import prepare

seeds, spool = sys.argv[1:]
job = job_from({
    "name": "preparation",
    "seeds": seeds,
    "recipe": "distill",
    "models": {"teacher": {"engine": "scripted"}},
    "split": {"allow_synthetic_only_eval": True},
    "output": spool + "/out",
})
began = time.monotonic()
prepared = prepare(job, spool=Path(spool))
wall = time.monotonic() - began
own, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
kb = {line[0]: int(line[1]) for line in lines if line and line[0] in ("RssAnon:", "VmHWM:")}
print(json.dumps({
    "read": prepared.count.read,
    "planned": prepared.count.planned,
    "wall s": round(wall, 1),
    "seeds/s": round(prepared.count.read / wall),
    "own CPU us a seed": round((own.ru_utime + own.ru_stime) / prepared.count.read * 1e6, 1),
    "others' CPU us a seed": round((others.ru_utime + others.ru_stime) / prepared.count.read * 1e6, 1),
    "peak MB": kb["VmHWM:"] >> 10,
    "held MB": kb["RssAnon:"] >> 10,
    "one reader's peak MB": others.ru_maxrss >> 10,
}))
"""


def write_seeds(path: Path, count: int) -> None:
    draw = random.Random(7)
    words = ["".join(draw.choices("abcdefghijklmnop", k=draw.randint(2, 9))) for _ in range(_WORDS)]
    earlier = [draw.choices(words, k=45) for _ in range(1000)]
    with path.open("w") as file:
        for number in range(count):
            if number % 2:
                text = draw.choices(words, k=14)
            else:
                text = list(draw.choice(earlier)) if number % 20 == 0 else draw.choices(words, k=45)
                text[draw.randrange(len(text))] = str(number)
            file.write(json.dumps({"prompt": " ".join(text), "answer": " ".join(draw.choices(words, k=25))}) + "\n")


def measure(count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        seeds = Path(folder) / "seeds.jsonl"
        write_seeds(seeds, count)
        command = [sys.executable, "-c", _CHILD, str(seeds), folder]
        facts: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout.splitlines()[-1])
        return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="*", default=(100_000, 1_000_000))
    report("preparation", [measure(count) for count in parser.parse_args().seeds], packages=("pyarrow", "numba"))


if __name__ == "__main__":
    main()
