"""Replicas divided between a teacher's and a judge's pool by `drive.pool_sizer`, in simulated time: what is lost to a bad start.

Requests pass the teacher, then the judge; each takes a random time at each, longer or shorter by the ratio of work. They are
admitted as `ask.worker` does: while no more wait at an engine than it runs. The pools start with all replicas but one at the
faster pool, and a moved replica takes two minutes to start. Compared with every fixed division, over the same random times: once
measuring and moving are done, and over the whole run of two hours.
"""

from __future__ import annotations

import argparse
import heapq
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, pairwise

from bench.results import report
from synth_ray.drive.pool_sizer import Move, PoolSizer, PoolState

RATIOS = ((1, 4), (1, 1), (4, 1))
TOTALS = (4, 8, 16)
SLOTS = 8
MEAN_S = 4.0
START_S = 120.0
RUN_S = 2 * 3600.0
WARM_S = 1800.0
LOOK_EVERY_S = 1.0


@dataclass
class SimulatedEngines:
    """The engines of one pool as one queue. A replica that leaves ends what runs on it; then one starts in the other pool."""

    up: int
    mean_s: float
    draw: random.Random
    running: int = 0
    leaving: int = 0
    starting: int = 0
    waiting: deque[int] = field(default_factory=deque)
    used_s: float = 0.0
    seen_s: float = 0.0

    @property
    def places(self) -> int:
        return SLOTS * (self.up - self.leaving)

    def use_until(self, now: float) -> None:
        self.used_s += (now - self.seen_s) * min(self.running, self.places + SLOTS * self.leaving) / SLOTS
        self.seen_s = now

    def time_of_one(self) -> float:
        """Lognormal, with a standard deviation of two thirds of the mean."""
        return self.mean_s * self.draw.lognormvariate(-0.18, 0.6)


class Tandem:
    """One run. `ended` are the times at which requests ended."""

    def __init__(self, teachers: int, judges: int, ratio: tuple[float, float], *, seed: int, sized: bool, run_s: float) -> None:
        scale = MEAN_S / max(ratio)
        self.now, self._run_s = 0.0, run_s
        self._events: list[tuple[float, int, str, str]] = []
        self._order = count()
        sizes = {"teacher": (teachers, ratio[0]), "judge": (judges, ratio[1])}
        self.pools = {
            name: SimulatedEngines(up, scale * work, random.Random(f"{seed} {name}")) for name, (up, work) in sizes.items()
        }
        self._sizer = PoolSizer(lambda: self.now) if sized else None
        self.ended: list[float] = []
        self.sizes: list[tuple[float, int, int]] = [(0.0, teachers, judges)]
        self._admitted = 0

    def run(self) -> Tandem:
        self._at(LOOK_EVERY_S, "look", "")
        self._admit()
        while self._events:
            self.now, _, kind, name = heapq.heappop(self._events)
            if self.now > self._run_s:
                break
            for pool in self.pools.values():
                pool.use_until(self.now)
            getattr(self, f"_on_{kind}")(name)
            self._admit()
        return self

    def _at(self, seconds: float, kind: str, name: str) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._order), kind, name))

    def _admit(self) -> None:
        teacher, judge = self.pools["teacher"], self.pools["judge"]
        while len(teacher.waiting) < teacher.places and len(judge.waiting) < judge.places:
            teacher.waiting.append(self._admitted)
            self._admitted += 1
            self._fill("teacher")

    def _fill(self, name: str) -> None:
        pool = self.pools[name]
        while pool.waiting and pool.running < pool.places:
            pool.waiting.popleft()
            pool.running += 1
            self._at(pool.time_of_one(), "end", name)

    def _on_end(self, name: str) -> None:
        self.pools[name].running -= 1
        if name == "teacher":
            self.pools["judge"].waiting.append(0)
            self._fill("judge")
        else:
            self.ended.append(self.now)
        self._let_go(name)
        self._fill(name)

    def _let_go(self, name: str) -> None:
        """Replicas that leave go once so many places are empty."""
        pool = self.pools[name]
        while pool.leaving and pool.running <= SLOTS * (pool.up - 1):
            pool.up, pool.leaving = pool.up - 1, pool.leaving - 1
            other = "judge" if name == "teacher" else "teacher"
            self._at(START_S, "started", other)

    def _on_started(self, name: str) -> None:
        pool = self.pools[name]
        pool.up, pool.starting = pool.up + 1, pool.starting - 1
        self._fill(name)
        self.sizes.append((self.now, self.pools["teacher"].up, self.pools["judge"].up))

    def _on_look(self, _: str) -> None:
        self._at(LOOK_EVERY_S, "look", "")
        if self._sizer is None:
            return
        in_flight = self._admitted - len(self.ended)
        rate = max(1, len(self.ended)) / self.now
        move = self._sizer.advise(
            {name: PoolState(p.up, p.leaving + p.starting, p.used_s) for name, p in self.pools.items()},
            requests=len(self.ended),
            in_flight=in_flight,
            left=rate * (self._run_s - self.now),
            start_s=START_S,
        )
        if move is not None:
            self._move(move)

    def _move(self, move: Move) -> None:
        self.pools[move.origin].leaving += move.replicas
        self.pools[move.target].starting += move.replicas
        self._let_go(move.origin)

    def done(self, since: float = 0.0) -> int:
        """Requests that ended after `since`."""
        return sum(at > since for at in self.ended)


def measure(
    ratio: tuple[float, float], total: int, *, seed: int, run_s: float = RUN_S, warm_s: float = WARM_S
) -> dict[str, object]:
    """The sized run against every fixed division."""
    fixed = {t: Tandem(t, total - t, ratio, seed=seed, sized=False, run_s=run_s).run() for t in likely(ratio, total)}
    worst = 1 if ratio[0] > ratio[1] else total - 1
    sized = Tandem(worst, total - worst, ratio, seed=seed, sized=True, run_s=run_s).run()
    unmoved = Tandem(worst, total - worst, ratio, seed=seed, sized=False, run_s=run_s).run()
    best = max(fixed, key=lambda t: fixed[t].done(warm_s))
    return {
        "work, teacher : judge": f"{ratio[0]:g} : {ratio[1]:g}",
        "replicas": total,
        "first teachers": worst,
        "last": f"{sized.sizes[-1][1]} + {sized.sizes[-1][2]}",
        "best fixed": f"{best} + {total - best}",
        "share of the best, warm": round(sized.done(warm_s) / fixed[best].done(warm_s), 4),
        "share of the best, whole run": round(sized.done() / max(run.done() for run in fixed.values()), 4),
        "without moving": round(unmoved.done() / fixed[best].done(), 4),
        "moves": sum(a[1:] != b[1:] for a, b in pairwise(sized.sizes)),
    }


def likely(ratio: tuple[float, float], total: int) -> Iterator[int]:
    """Divisions among which the best is: two to each side of the exact one."""
    exact = total * ratio[0] / sum(ratio)
    return (t for t in range(1, total) if abs(t - exact) <= 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=17)
    seed = parser.parse_args().seed
    rows = [measure(ratio, total, seed=seed) for ratio in RATIOS for total in TOTALS]
    report("pools", rows)


if __name__ == "__main__":
    main()
