"""One piece of the run of `bench.scale`, in its own process: the job until its end or a signal, and samples of it as JSON lines.

Times are CPU seconds of this process since its start. On threads the driver's are those of its one thread, on Ray those of the
process. Requests to the store are this process's: on threads all, on Ray those of the driver.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

EVERY_ROWS, EVERY_S = 10_000, 5.0
_SEEDS = 20_000
_WORDS = tuple(a + b + c for a in ("bat", "lom", "ker", "din") for b in ("a", "o", "u") for c in ("sel", "rin", "mut", "gan"))
_AREA_OF = {"asks": "journal", "chunks": "chunk", "commits": "commit record"}


def job(folder: Path, rows: int, engine: str, words: int) -> dict[str, Any]:
    """The job of every piece: only how it runs may differ between two of them."""
    seeds = folder / "seeds.jsonl"
    if not seeds.exists():
        draw = random.Random(7)
        texts = (
            f"Message {n}: my {' '.join(draw.choices(_WORDS, k=6))} {draw.randrange(10**6)} is wrong." for n in range(_SEEDS)
        )
        seeds.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts))
    script = {"words": words, "vocabulary": 20_000, "repeat_share": 0.02, "fail_share": 0.001, "concurrency": 1024}
    return {
        "name": f"scale-{rows}",
        "seeds": str(seeds),
        "recipe": "distill",
        "models": {"teacher": {"engine": "scripted", "script": script}},
        "plan": {"requests": rows},
        "split": {"allow_synthetic_only_eval": True},
        "output": str(folder / "out"),
        "cluster": {"engine": engine},
    }


class Spent:
    """Seconds spent in some functions, and requests to the store with their bytes, by verb and kind of object."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.requests: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()

    def time(self, name: str, owner: Any, method: str, clock: Callable[[], float] = time.thread_time) -> None:
        inner = getattr(owner, method)

        def timed(*arguments: Any, **more: Any) -> Any:
            began = clock()
            try:
                return inner(*arguments, **more)
            finally:
                self.seconds[name] += clock() - began

        setattr(owner, method, timed)

    def count_requests(self, store: Any) -> None:
        """Count what is asked of a class of stores."""
        for verb in ("write", "create", "swap", "delete", "list", "read", "read_with_etag", "read_range", "open_input"):
            self._count(store, verb)
        inner = store.upload

        @contextmanager
        def upload(this: Any, path: str) -> Iterator[Any]:
            with inner(this, path) as stream:
                yield stream
                self._add("upload", path, stream.tell())

        store.upload = upload

    def _count(self, store: Any, verb: str) -> None:
        inner = getattr(store, verb)

        def counted(this: Any, path: str = "", *arguments: Any, **more: Any) -> Any:
            answer = inner(this, path, *arguments, **more)
            sent = arguments[0] if verb in ("write", "create", "swap") else answer
            self._add(verb, path, len(sent) if isinstance(sent, bytes) else 0)
            return answer

        setattr(store, verb, counted)

    def _add(self, verb: str, path: str, size: int) -> None:
        first, _, rest = path.partition("/")
        area = _AREA_OF.get(rest.partition("/")[0], "other") if first == "_synth" else "dataset"
        self.requests[f"{verb} {area}"] += 1
        self.bytes[f"{verb} {area}"] += size


class Sampler:
    """Writes a line for every so many new rows or seconds, and when the first request is out. Pass it as `watch`."""

    def __init__(self, file: IO[str], spent: Spent, engine: str) -> None:
        self._file, self._spent = file, spent
        self._driver_s = time.process_time if engine == "ray" else time.thread_time
        self._began = time.monotonic()
        self._last = (0, 0.0)
        self._asked = False
        self._stage = ""

    def __call__(self, tally: Any) -> None:
        seconds, first = time.monotonic() - self._began, bool(tally.in_flight) and not self._asked
        self._asked |= first
        rows, at = self._last
        if first or tally.stage != self._stage or tally.slots - rows >= EVERY_ROWS or seconds - at >= EVERY_S:
            self._last, self._stage = (tally.slots, seconds), tally.stage
            self.write(tally, seconds, first_request=first)

    def write(self, tally: Any, seconds: float, **more: Any) -> None:
        sample = {
            "s": round(seconds, 3),
            "rows": tally.slots,
            "earlier": tally.slots_earlier,
            "new": tally.requests_done,
            "kept": tally.accepted,
            "index_bytes": tally.index_bytes,
            "driver_s": round(self._driver_s(), 3),
            "process_s": round(time.process_time(), 3),
            "stage": tally.stage,
            "spent_s": {name: round(value, 3) for name, value in self._spent.seconds.items()},
            "requests": dict(self._spent.requests),
            "bytes": dict(self._spent.bytes),
        }
        self.line(sample | more)

    def line(self, sample: dict[str, Any]) -> None:
        self._file.write(json.dumps(sample) + "\n")
        self._file.flush()


def watched() -> Spent:
    """Count and time what the pieces of the figures need."""
    from synth_ray.admit.admission import Admission
    from synth_ray.dedup.index import Index
    from synth_ray.publish.publication import Publication
    from synth_ray.publish.publisher import Publisher
    from synth_ray.storage.local import LocalStorage

    spent = Spent()
    spent.time("index", Index, "decide")
    spent.time("decide", Admission, "decide")
    spent.time("admit", Publisher, "admit")
    spent.time("finish", Publication, "finish", time.monotonic)
    spent.time("publish", Publication, "publish", time.monotonic)
    spent.count_requests(LocalStorage)
    return spent


def run(folder: Path, rows: int, engine: str, words: int, lines: Path) -> None:
    import synth_ray

    spent = watched()
    with lines.open("w") as file:
        sampler = Sampler(file, spent, engine)
        began = time.monotonic()
        result = synth_ray.run(job(folder, rows, engine, words), watch=sampler)
        end = {"s": round(time.monotonic() - began, 3), "stopped": result.stopped, "rows": result.manifest["rows"]}
        end |= {"digest": result.manifest["dataset_digest"], "spent_s": dict(spent.seconds)}
        sampler.line({"end": end | {"requests": dict(spent.requests), "bytes": dict(spent.bytes)}})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("lines", type=Path)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--words", type=int, required=True)
    arguments = parser.parse_args()
    run(arguments.folder, arguments.rows, arguments.engine, arguments.words, arguments.lines)


if __name__ == "__main__":
    main()
