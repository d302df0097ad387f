"""Requests as they are sent to actors."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Any

from synth_ray.records import Request, Seed

_fields_of_seed = attrgetter(*Seed.__slots__)


def requests_to_tuples(requests: Iterable[Request]) -> list[tuple[Any, ...]]:
    """Requests as plain tuples, which pickle at a sixth of the cost of objects."""
    seed = _fields_of_seed
    return [
        (r.id, r.chunk, r.position, seed(r.seed), r.slots, tuple(map(seed, r.shots)), r.random_seed, r.number) for r in requests
    ]


def requests_from_tuples(tuples: Iterable[tuple[Any, ...]]) -> list[Request]:
    """The requests of such tuples."""
    return [
        Request(id_, chunk, position, Seed(*seed), slots, tuple(Seed(*shot) for shot in shots), *rest)
        for id_, chunk, position, seed, slots, shots, *rest in tuples
    ]
