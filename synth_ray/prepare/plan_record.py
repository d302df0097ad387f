"""The plan in a chunk's commit record: written when the chunk is staged, read when a run is resumed."""

from __future__ import annotations

from typing import Any

from synth_ray.dataset.ledger import Commit
from synth_ray.dataset.ranges import Ranges
from synth_ray.records import Request, digest


def plan_facts(requests: list[Request]) -> dict[str, Any]:
    """What a chunk was planned to ask: a resumed run reads it and does not plan the chunk again.

    Gold rows for the judge fill no slot and are not part of the plan.
    """
    requests = [request for request in requests if request.slots]
    identities = [[r.id, r.random_seed, *(shot.id for shot in r.shots)] for r in requests]
    return {"plan": digest("plan", identities), "numbers": Ranges(r.number for r in requests).runs}


def numbers_of(commit: Commit) -> list[int]:
    """The request numbers of a committed chunk, position by position."""
    return [number for start, end in commit.facts["numbers"] for number in range(start, end)]
