"""A whole run with a teacher that costs nothing, all stages on, relative to the limit set by its stages alone.

The stages' own CPU time a row is measured in such a run on threads, each on the thread that runs it. `share` is rows per second
from the first answer to the last admitted row, divided by cores ÷ that time: the rest is lost to messages, bookkeeping and idle
cores. A row has two texts to scrub, prompt and answer. `sparse`: one line, and forty words, without findings. `dense`: a chat of
about two hundred words full of identifiers, and the same again after forty words.
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
from bench.results import Moments, report
from bench.route import job

ROWS = {"sparse": 200_000, "dense": 20_000}
_CHATS = 5_000


def document(folder: Path, rows: int, texts: str, engine: str) -> dict[str, Any]:
    job_document = job(folder, rows, engine)
    if texts == "dense":
        chats = [{"prompt": sample.text} for sample in corpus(_CHATS, seed=3)]
        (folder / "seeds.jsonl").write_text("".join(json.dumps(chat) + "\n" for chat in chats))
        job_document["models"]["teacher"]["script"]["answers"] = ["{{ words }}\n{{ prompt }}"]
        job_document["cluster"]["stagers"] = 2
    return job_document


class StageTimes:
    """CPU seconds by stage, of calls that do not wait."""

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
        self.seconds[stage] = 0.0  # fixes the order of the columns

        def counted(*arguments: Any, **more: Any) -> Any:
            with self._on(stage):
                return inner(*arguments, **more)

        async def awaited(*arguments: Any, **more: Any) -> Any:
            """Never suspends: without latency this teacher answers at once."""
            with self._on(stage):
                return await inner(*arguments, **more)

        setattr(owner, name, awaited if iscoroutinefunction(inner) else counted)


def count_stages() -> StageTimes:
    from synth_ray.ask import worker
    from synth_ray.ask.asker import Asker
    from synth_ray.check.checker import Checker
    from synth_ray.dataset.ledger import Ledger
    from synth_ray.dedup.fingerprint import Fingerprinter
    from synth_ray.plan.chunks import Planner
    from synth_ray.publish.publisher import Publisher
    from synth_ray.scrub.scrubber import Scrubber
    from synth_ray.workers import row_stages

    spent = StageTimes()
    spent.count("plan", Planner, "numbered")
    spent.count("ask", Asker, "run")
    spent.count("rows", worker, "rows_by_chunk")
    spent.count("check", Checker, "flag_rows")
    spent.count("scrub", Scrubber, "scrub_rows")
    spent.count("compare", row_stages, "compared_text")
    spent.count("fingerprint", Fingerprinter, "fingerprint_rows")
    spent.count("store", Ledger, "commit_chunk")
    spent.count("admit", Publisher, "admit")
    return spent


def run_one(rows: int, texts: str, engine: str, *, counted: bool) -> dict[str, Any]:
    """One run; called in its own process."""
    import synth_ray

    spent = count_stages() if counted else StageTimes()
    moments = Moments(first=lambda tally: tally.requests_done, last=lambda tally: tally.slots == rows)
    with tempfile.TemporaryDirectory() as folder:
        manifest = synth_ray.run(document(Path(folder), rows, texts, engine), watch=moments).manifest
        ended = time.monotonic()
    seconds = moments.at.get("last", ended) - moments.at["first"]
    return {"seconds": seconds, "accepted": manifest["rows"]["accepted"], "spent": dict(spent.seconds)}


def measure(rows: int, texts: str, engine: str, *, counted: bool = False) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.stages", "--one", str(rows), "--texts", texts, "--engine", engine]
    output = subprocess.run([*command, *["--counted"] * counted], stdout=subprocess.PIPE, text=True, check=True).stdout
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def rows_of(texts: str, rows: int) -> list[dict[str, Any]]:
    spent = measure(rows, texts, "local", counted=True)["spent"]
    micros = {stage: 1e6 * seconds / rows for stage, seconds in spent.items()}
    limit = (os.cpu_count() or 1) * 1e6 / sum(micros.values())
    results = []
    for engine in ("local", "ray"):
        result = measure(rows, texts, engine)
        rate = rows / result["seconds"]
        row = {"texts": texts, "engine": engine, "rows": rows, "accepted": result["accepted"], "rows/s": round(rate)}
        row |= {"cores ÷ stages, rows/s": round(limit), "share": round(rate / limit, 3)}
        results.append(row | {f"{stage} µs": round(value, 1) for stage, value in micros.items()})
    return results


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
    results = [row for texts, rows in ROWS.items() for row in rows_of(texts, round(rows * arguments.scale))]
    report("stages", results, packages=("ray", "pyarrow", "numba", "presidio-analyzer"))


if __name__ == "__main__":
    main()
