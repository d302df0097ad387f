"""Attributes of a row, sampled from a grid: a persona, a tone, a length. The draw is seeded by the request, so it is
repeatable.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import AfterValidator

from synth_ray.records import Request, digest

DOC = "A grid of attributes, as {tone: [polite, curt], persona: [nurse, clerk]}; one value of each is drawn per row."


def sample_attributes(grid: Mapping[str, Sequence[str]], request: Request, slot: int) -> dict[str, str]:
    """One value of each attribute for a slot, each value equally likely."""
    draw = random.Random(digest("attributes", request.id, slot))
    return {name: draw.choice(list(values)) for name, values in grid.items()}


def _all_drawable(grid: dict[str, list[str]]) -> dict[str, list[str]]:
    empty = [name for name, values in grid.items() if not values]
    if empty:
        raise ValueError(f"wanted values for every attribute, got none for {', '.join(empty)}; add some or leave it out")
    return grid


Grid = Annotated[dict[str, list[str]], AfterValidator(_all_drawable)]
"""An option of a recipe: the values of each attribute, at least one."""
