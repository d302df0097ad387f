"""Attributes of a row drawn from a grid: a persona, a tone, a length. The draw is the request's own, so it repeats."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from synth_ray.records import Request, digest

Grid = Mapping[str, Sequence[str]]

DOC = "A grid of attributes, as {tone: [polite, curt], persona: [nurse, clerk]}: one of each is drawn per row, for the template."


def drawn(grid: Grid, request: Request, slot: int) -> dict[str, str]:
    """One value of each attribute for a slot, each value as likely as the others."""
    draw = random.Random(digest("attributes", request.id, slot))
    return {name: draw.choice(list(values)) for name, values in grid.items()}


def refuse_empty(grid: Grid) -> Grid:
    """Raises ValueError for an attribute without a value to draw."""
    empty = [name for name, values in grid.items() if not values]
    if empty:
        raise ValueError(f"wanted values for every attribute, got none for {', '.join(empty)}; add some or leave it out")
    return grid
