"""What a commit record says of its chunk's plan, written when the chunk is staged and read when a run goes on."""

from __future__ import annotations

from typing import Any

from synth_ray.dataset.ledger import Commit
from synth_ray.dataset.ranges import Ranges
from synth_ray.records import Request, digest


def plan_facts(requests: list[Request]) -> dict[str, Any]:
    """What a chunk was planned to ask, for its commit record: a resumed run reads it there and does not plan again.

    Gold rows for the judge, which fill no slot, are beside the plan.
    """
    requests = [request for request in requests if request.slots]
    identities = [[r.id, r.random_seed, *(shot.id for shot in r.shots)] for r in requests]
    return {"plan": digest("plan", identities), "numbers": Ranges(r.number for r in requests).runs}


def numbers_of(commit: Commit) -> list[int]:
    """The requests a committed chunk holds, position by position."""
    return [number for start, end in commit.facts["numbers"] for number in range(start, end)]
