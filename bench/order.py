"""What the order and the routing of requests are worth, in simulated steps under the real driver.

Three tables in one. Tail: job time ÷ the lower bound of any order, max(all tokens ÷ all slots, the longest request), in the
plan's order, longest first by predicted lengths (for a given log-correlation of answer and prompt length), and by lengths known
beforehand. Prefixes: cached-token share on four replicas ÷ that of one engine with the same cache per replica. Replicas: running
sequences as a share of linear scaling.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import synth_ray.drive.request_queue as request_queue
from bench.results import report
from bench.simulated import SimulatedPool, SimulatedReplica, seed, simulate
from synth_ray.drive.lengths import LengthPredictor
from synth_ray.records import Seed

SLOTS = 128


def long_tailed(n: int, correlation: float) -> tuple[list[Seed], dict[str, int]]:
    """Seeds whose answers are lognormal, a few of them more than ten times the median, and their lengths."""
    draw = random.Random(1)
    seeds, tokens = [], {}
    for i in range(n):
        prompt_draw = draw.gauss(0, 1)
        answer = correlation * prompt_draw + (1 - correlation**2) ** 0.5 * draw.gauss(0, 1)
        seeds.append(seed(i, prompt=f"{i:>8}" + "x" * max(20, int(400 * 2.718 ** (0.9 * prompt_draw)))))
        tokens[f"r{i}"] = max(4, min(2000, int(160 * 2.718 ** (0.9 * answer))))
    return seeds, tokens


@contextmanager
def replaced(owner: Any, name: str, replacement: Callable[..., Any]) -> Any:
    """Replace an attribute of the package for the block, to measure the alternative."""
    original = getattr(owner, name)
    setattr(owner, name, replacement)
    try:
        yield
    finally:
        setattr(owner, name, original)


def tail(n: int, replicas: int, correlation: float, order: str) -> dict[str, Any]:
    seeds, tokens = long_tailed(n, correlation)
    engines = [SimulatedReplica(SLOTS) for _ in range(replicas)]
    length = lambda request: tokens[request.id]  # noqa: E731
    if order == "plan's order":
        with replaced(request_queue.RequestQueue, "longest_first", lambda self: None):
            pool, _ = simulate(seeds, engines, length)
    elif order == "known lengths":
        with (
            replaced(LengthPredictor, "predict", lambda self, request: length(request)),
            replaced(LengthPredictor, "beats_mean", property(lambda self: True)),
        ):
            pool, _ = simulate(seeds, engines, length)
    else:
        pool, _ = simulate(seeds, engines, length)
    bound = max(sum(tokens.values()) / (SLOTS * replicas), max(tokens.values()))
    ends = sorted(pool.ended_at)
    return {
        "what": f"tail: {order}" + (f", correlation {correlation:g}" if order == "longest first" else ""),
        "replicas": replicas,
        "requests": n,
        "time ÷ bound": round(pool.steps / bound, 3),
        "last 5 % of rows ÷ time": round((ends[-1] - ends[int(0.95 * n)]) / ends[-1], 4),
        "occupancy": _occupancy(pool),
    }


def _occupancy(pool: SimulatedPool) -> float:
    steps = sum(replica.before_tail[0] * replica.slots for replica in pool.replicas)
    return round(sum(replica.before_tail[1] for replica in pool.replicas) / max(1, steps), 4)


def prefixes(replicas: int, *, routed: bool) -> float:
    """Share of prompt tokens found in a cache: 400 documents of 1,500 tokens, 20 questions about each, shuffled."""
    questions = [(document, question) for document in range(400) for question in range(20)]
    random.Random(3).shuffle(questions)
    seeds = [
        seed(i, document=f"document {d} " + "x" * 800, prefix=f"d{d}", prefix_tokens=1500, prompt=f"question {q}?")
        for i, (d, q) in enumerate(questions)
    ]
    engines = [SimulatedReplica(32, cache_tokens=120_000) for _ in range(replicas)]
    if routed:
        pool, _ = simulate(seeds, engines, lambda _: 60)
    else:
        with replaced(request_queue, "_prefix", lambda request: ""):
            pool, _ = simulate(seeds, engines, lambda _: 60)
    return sum(replica.cached for replica in pool.replicas) / sum(replica.prompt for replica in pool.replicas)


def linear(counts: tuple[int, ...] = (1, 2, 4, 8)) -> list[dict[str, Any]]:
    rows, of_one = [], 0.0
    for replicas in counts:
        n = 6000 * replicas
        seeds, tokens = long_tailed(n, 0.7)
        pool, _ = simulate(seeds, [SimulatedReplica(SLOTS) for _ in range(replicas)], lambda r, t=tokens: t[r.id])
        running = sum(replica.running_sum for replica in pool.replicas) / pool.steps
        of_one = of_one or running
        rows.append(
            {
                "what": "replicas",
                "replicas": replicas,
                "requests": n,
                "occupancy": _occupancy(pool),
                "share of linear": round(running / (replicas * of_one), 3),
            }
        )
    return rows


def main() -> None:
    rows = [
        tail(12_000, 4, 0.0, "plan's order"),
        *(tail(12_000, 4, c, "longest first") for c in (0.0, 0.7, 0.9)),
        tail(12_000, 4, 0.0, "known lengths"),
    ]
    one_engine_share = prefixes(1, routed=True)
    for replicas, routed in ((1, False), (1, True), (4, False), (4, True)):
        share = prefixes(replicas, routed=routed)
        rows.append(
            {
                "what": f"prefixes: {'gathered and routed' if routed else 'as planned'}",
                "replicas": replicas,
                "cached share": round(share, 3),
                "÷ one engine": round(share / one_engine_share, 3),
            }
        )
    report("order", [*rows, *linear()])


if __name__ == "__main__":
    main()
