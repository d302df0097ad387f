"""What the order and the routing of requests are worth, in simulated steps under the route's own driver.

Three tables in one. The tail: job time ÷ the bound no order can beat, max(all tokens ÷ all slots, the longest request), in plan's
order, longest first by learned lengths (log-correlation of answer with prompt given), and by lengths known beforehand. Prefixes:
cached-token share on four replicas ÷ one engine's of the same cache a replica. Replicas: running sequences, share of linear.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import synth_ray.drive.request_queue as pending
from bench.results import tell
from bench.simulated import SimulatedPool, SimulatedReplica, seed, simulate
from synth_ray.drive.lengths import LengthPredictor
from synth_ray.records import Seed

SLOTS = 128


def long_tailed(n: int, correlation: float) -> tuple[list[Seed], dict[str, int]]:
    """Seeds whose answers are lognormal, a few of them more than ten times the median, and their lengths."""
    draw = random.Random(1)
    seeds, tokens = [], {}
    for i in range(n):
        asked = draw.gauss(0, 1)
        answer = correlation * asked + (1 - correlation**2) ** 0.5 * draw.gauss(0, 1)
        seeds.append(seed(i, prompt=f"{i:>8}" + "x" * max(20, int(400 * 2.718 ** (0.9 * asked)))))
        tokens[f"r{i}"] = max(4, min(2000, int(160 * 2.718 ** (0.9 * answer))))
    return seeds, tokens


@contextmanager
def replaced(where: Any, name: str, by: Callable[..., Any]) -> Any:
    """What the route does otherwise, for the comparison."""
    kept = getattr(where, name)
    setattr(where, name, by)
    try:
        yield
    finally:
        setattr(where, name, kept)


def tail(n: int, replicas: int, correlation: float, order: str) -> dict[str, Any]:
    seeds, tokens = long_tailed(n, correlation)
    engines = [SimulatedReplica(SLOTS) for _ in range(replicas)]
    length = lambda request: tokens[request.id]  # noqa: E731
    if order == "plan's order":
        with replaced(pending.RequestQueue, "longest_first", lambda self: None):
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
    steps = sum(one.before_tail[0] * one.slots for one in pool.replicas)
    return round(sum(one.before_tail[1] for one in pool.replicas) / max(1, steps), 4)


def prefixes(replicas: int, *, routed: bool) -> float:
    """Share of prompt tokens found in a cache: 400 documents of 1,500 tokens, 20 questions to each, shuffled."""
    asked = [(document, question) for document in range(400) for question in range(20)]
    random.Random(3).shuffle(asked)
    seeds = [
        seed(i, document=f"document {d} " + "x" * 800, prefix=f"d{d}", prefix_tokens=1500, prompt=f"question {q}?")
        for i, (d, q) in enumerate(asked)
    ]
    engines = [SimulatedReplica(32, cache_tokens=120_000) for _ in range(replicas)]
    if routed:
        pool, _ = simulate(seeds, engines, lambda _: 60)
    else:
        with replaced(pending, "_prefix", lambda request: ""):
            pool, _ = simulate(seeds, engines, lambda _: 60)
    return sum(one.cached for one in pool.replicas) / sum(one.prompt for one in pool.replicas)


def linear(counts: tuple[int, ...] = (1, 2, 4, 8)) -> list[dict[str, Any]]:
    rows, alone = [], 0.0
    for replicas in counts:
        n = 6000 * replicas
        seeds, tokens = long_tailed(n, 0.7)
        pool, _ = simulate(seeds, [SimulatedReplica(SLOTS) for _ in range(replicas)], lambda r, t=tokens: t[r.id])
        busy = sum(one.running_sum for one in pool.replicas) / pool.steps
        alone = alone or busy
        rows.append(
            {
                "what": "replicas",
                "replicas": replicas,
                "requests": n,
                "occupancy": _occupancy(pool),
                "share of linear": round(busy / (replicas * alone), 3),
            }
        )
    return rows


def main() -> None:
    rows = [
        tail(12_000, 4, 0.0, "plan's order"),
        *(tail(12_000, 4, c, "longest first") for c in (0.0, 0.7, 0.9)),
        tail(12_000, 4, 0.0, "known lengths"),
    ]
    one = prefixes(1, routed=True)
    for replicas, routed in ((1, False), (1, True), (4, False), (4, True)):
        share = prefixes(replicas, routed=routed)
        rows.append(
            {
                "what": f"prefixes: {'gathered and routed' if routed else 'as planned'}",
                "replicas": replicas,
                "cached share": round(share, 3),
                "÷ one engine": round(share / one, 3),
            }
        )
    tell("order", [*rows, *linear()])


if __name__ == "__main__":
    main()
