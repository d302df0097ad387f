"""Holds seeds out from the teacher and plants canaries, so that a later test shows what its answers gave away."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace

from synth_ray.plan.seeds import RejectedSeed
from synth_ray.recipes.contract import CANARY, Shield
from synth_ray.records import TRAIN, Reason, Seed, digest

_SUFFIX_WORDS = 8  # of three syllables each
_SYLLABLES = ("ba", "cho", "dri", "fen", "gul", "hax", "jo", "kri", "lum", "mip", "nor", "pez", "quo", "ras", "tuv", "wyx", "zil")


def hold_out_and_plant(
    placed: Iterable[Seed | RejectedSeed], shield: Shield | None, held_out: list[Seed]
) -> Iterator[Seed | RejectedSeed]:
    """The seeds, with held-out seeds rejected(held_out) and canaries planted.

    The seeds of a share `shield.holdout` of the lineages are held out and appended to `held_out`. After each of the first
    `shield.canaries` training seeds comes a canary: a copy of the seed whose longest text ends in words that nobody would write
    (Meeus et al., 2025, arXiv 2502.14921).
    """
    if shield is None:
        yield from placed
        return
    planted = 0
    for seed in placed:
        if isinstance(seed, Seed) and int(digest("holdout", seed.lineage, size=6), 16) < shield.holdout * 16**12:
            held_out.append(seed)
            yield RejectedSeed(Reason.HELD_OUT, seed.source, seed.line)
            continue
        yield seed
        if isinstance(seed, Seed) and seed.split == TRAIN and planted < shield.canaries:
            planted += 1
            yield canary(seed, planted)


def canary(seed: Seed, number: int) -> Seed:
    name, text = max(
        ((name, value) for name, value in seed.fields.items() if isinstance(value, str) and name != "prompt"),
        key=lambda item: len(item[1]),
        default=("prompt", str(seed.fields.get("prompt", ""))),
    )
    words = text.split()
    fields = {**seed.fields, name: " ".join([*words[: max(1, len(words) // 2)], canary_suffix(seed.lineage, number)])}
    return replace(seed, id=digest(CANARY, seed.id, number), fields=fields, source=CANARY, line=number)


def canary_suffix(lineage: str, number: int) -> str:
    draw = random.Random(digest("ending", lineage, number))
    return " ".join("".join(draw.choices(_SYLLABLES, k=3)) for _ in range(_SUFFIX_WORDS))
