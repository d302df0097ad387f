"""How several jobs divide a cluster's accelerators. Pure: claims in, replicas out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Claim:
    """What one job asks of the cluster: `wanted` replicas of `size` units of `resource` ("GPU", or "CPU" where its teacher has no
    GPU). It `held` so many units when it reported, those of replicas that are leaving included. `since` orders jobs that are
    otherwise alike: seconds on the arbiter's clock.
    """

    resource: str
    size: float
    wanted: int
    held: float
    priority: int = 0
    since: float = 0.0


def fair_shares(claims: Mapping[str, Claim], capacity: float) -> dict[str, int]:
    """The replicas each job may have of `capacity` units, which all claims are on.

    Law: together they never exceed the capacity, but for the one replica that a running job keeps. First each running job has
    one; then higher priorities are served before lower ones; within a priority the smallest share in units grows first (max-min
    fairness), so that no job can get one more except from a job that has no less.
    """
    shares = {job: int(claim.held > 0 and claim.wanted > 0) for job, claim in claims.items()}
    left = capacity - sum(share * claims[job].size for job, share in shares.items())
    waiting = {job for job, claim in claims.items() if shares[job] < claim.wanted}
    while waiting:
        job = min(waiting, key=lambda name: _turn(name, claims[name], shares[name]))
        claim = claims[job]
        if claim.size > left + 1e-9:
            waiting.discard(job)
            continue
        shares[job] += 1
        left -= claim.size
        if shares[job] == claim.wanted:
            waiting.discard(job)
    return shares


def _turn(name: str, claim: Claim, share: int) -> tuple[float, float, float, str]:
    return (-claim.priority, (share + 1) * claim.size, claim.since, name)
