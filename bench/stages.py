"""The whole route with a teacher that costs nothing, all stages on, beside what its stages alone would allow.

The stages' own processor time a row is measured in such a run on threads, each on the thread that runs it; `share` is rows per
second from the first answer to the last admitted row, beside the cores divided by the sum of it: what is lost to messages, to
bookkeeping and to cores that wait. A row has two texts to scrub, prompt and answer. `sparse`: a line, and forty words, nothing
to find in either. `dense`: a chat of some two hundred words full of identifiers, and the same again after forty words.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

from bench.pii_texts import corpus
from bench.results import Moments, tell
from bench.route import job

ROWS = {"sparse": 200_000, "dense": 20_000}
_CHATS = 5_000


def document(folder: Path, rows: int, texts: str, engine: str) -> dict[str, Any]:
    found = job(folder, rows, engine)
    if texts == "dense":
        chats = [{"prompt": sample.text} for sample in corpus(_CHATS, seed=3)]
        (folder / "seeds.jsonl").write_text("".join(json.dumps(one) + "\n" for one in chats))
        found["models"]["teacher"]["script"]["answers"] = ["{{ words }}\n{{ prompt }}"]
        found["cluster"]["stagers"] = 2
    return found


class Spent:
    """Processor seconds by stage, of calls that do not wait for anything."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()

    @contextmanager
    def _on(self, stage: str) -> Iterator[None]:
        began = time.thread_time()
        try:
            yield
        finally:
            self.seconds[stage] += time.thread_time() - began

    def count(self, stage: str, owner: Any, name: str) -> None:
        inner = getattr(owner, name)
        self.seconds[stage] = 0.0  # told in this order

        def counted(*arguments: Any, **more: Any) -> Any:
            with self._on(stage):
                return inner(*arguments, **more)

        async def awaited(*arguments: Any, **more: Any) -> Any:
            """Never gives way: without latency this teacher answers at once."""
            with self._on(stage):
                return await inner(*arguments, **more)

        setattr(owner, name, awaited if iscoroutinefunction(inner) else counted)


def counting() -> Spent:
    from synth_ray.ask import worker
    from synth_ray.ask.asker import Asker
    from synth_ray.check.checker import Checker
    from synth_ray.dataset.ledger import Ledger
    from synth_ray.dedup.fingerprint import Fingerprinter
    from synth_ray.plan.chunks import Planner
    from synth_ray.publish.publisher import Publisher
    from synth_ray.scrub.scrubber import Scrubber
    from synth_ray.workers import row_stages

    spent = Spent()
    spent.count("plan", Planner, "numbered")
    spent.count("ask", Asker, "run")
    spent.count("rows", worker, "rows_by_chunk")
    spent.count("check", Checker, "table")
    spent.count("scrub", Scrubber, "table")
    spent.count("compare", row_stages, "compared_text")
    spent.count("fingerprint", Fingerprinter, "table")
    spent.count("store", Ledger, "stage")
    spent.count("admit", Publisher, "admit")
    return spent


def run_one(rows: int, texts: str, engine: str, *, counted: bool) -> dict[str, Any]:
    """In a process of its own."""
    import synth_ray

    spent = counting() if counted else Spent()
    moments = Moments(first=lambda tally: tally.requests_done, last=lambda tally: tally.slots == rows)
    with tempfile.TemporaryDirectory() as folder:
        manifest = synth_ray.run(document(Path(folder), rows, texts, engine), watch=moments).manifest
        ended = time.monotonic()
    seconds = moments.at.get("last", ended) - moments.at["first"]
    return {"seconds": seconds, "accepted": manifest["rows"]["accepted"], "spent": dict(spent.seconds)}


def measured(rows: int, texts: str, engine: str, *, counted: bool = False) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.stages", "--one", str(rows), "--texts", texts, "--engine", engine]
    told = subprocess.run([*command, *["--counted"] * counted], stdout=subprocess.PIPE, text=True, check=True).stdout
    found: dict[str, Any] = json.loads(told.splitlines()[-1])
    return found


def rows_of(texts: str, rows: int) -> list[dict[str, Any]]:
    spent = measured(rows, texts, "local", counted=True)["spent"]
    micros = {stage: 1e6 * seconds / rows for stage, seconds in spent.items()}
    most = (os.cpu_count() or 1) * 1e6 / sum(micros.values())
    told = []
    for engine in ("local", "ray"):
        found = measured(rows, texts, engine)
        rate = rows / found["seconds"]
        one = {"texts": texts, "engine": engine, "rows": rows, "accepted": found["accepted"], "rows/s": round(rate)}
        one |= {"cores ÷ stages, rows/s": round(most), "share": round(rate / most, 3)}
        told.append(one | {f"{stage} µs": round(value, 1) for stage, value in micros.items()})
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--texts", default="sparse", choices=ROWS, help=argparse.SUPPRESS)
    parser.add_argument("--engine", default="local", help=argparse.SUPPRESS)
    parser.add_argument("--counted", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--scale", type=float, default=1.0, help="times the rows of each run")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(run_one(arguments.one, arguments.texts, arguments.engine, counted=arguments.counted)))
        return
    told = [one for texts, rows in ROWS.items() for one in rows_of(texts, round(rows * arguments.scale))]
    tell("stages", told, packages=("ray", "pyarrow", "numba", "presidio-analyzer"))


if __name__ == "__main__":
    main()
