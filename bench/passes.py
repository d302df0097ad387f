"""Adaptive n against a fixed n: asks, and how often both put a prompt on the same side of the band of pass rates.

Simulated with known pass rates, drawn from beta(.4, .4): most prompts of a model are answered nearly always or nearly never. The
answers of one prompt are the same for both. `same` is the share of prompts with the same decision, `right` and `right of fixed`
the share whose decision is that of the true rate.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from typing import Any

from bench.results import report
from synth_ray.recipes.pass_rates import Band, Side
from synth_ray.recipes.passes import Passes

PROMPTS = 50_000
BAND = Band(0.2, 0.8)


def simulate(steps: Sequence[int], risk: float, *, band: Band = BAND, prompts: int = PROMPTS, seed: int = 1) -> dict[str, float]:
    """Ask simulated prompts by these steps, and each up to the last one."""
    draw = random.Random(seed)
    asks = same = right = right_of_fixed = 0
    for _ in range(prompts):
        rate = draw.betavariate(0.4, 0.4)
        answers = [draw.random() < rate for _ in range(steps[-1])]
        truth = Side.BELOW if rate < band.low else Side.ABOVE if rate > band.high else Side.INSIDE
        fixed = band.side(sum(answers), steps[-1])
        n = next(n for n in steps if band.is_settled(sum(answers[:n]), n, steps[-1] - n, risk))
        adaptive = band.side(sum(answers[:n]), n)
        asks += n
        same += adaptive is fixed
        right += adaptive is truth
        right_of_fixed += fixed is truth
    return {
        "asks": asks / (prompts * steps[-1]),
        "same": same / prompts,
        "right": right / prompts,
        "right of fixed": right_of_fixed / prompts,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=PROMPTS)
    prompts = parser.parse_args().prompts
    defaults = Passes.model_validate({})
    cases: list[tuple[Sequence[int], float]] = [(defaults.steps, risk) for risk in (0.0, 0.02, defaults.risk, 0.1)]
    cases += [([4, 8, 16], defaults.risk), (range(4, 17), 0.03), ([4, 8, 16, 32], defaults.risk)]
    rows: list[dict[str, Any]] = [
        {"steps": " ".join(map(str, steps)), "risk": risk} | simulate(list(steps), risk, prompts=prompts) for steps, risk in cases
    ]
    report("passes", rows)


if __name__ == "__main__":
    main()
