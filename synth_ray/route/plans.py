"""Which chunk is planned when: a plan of fixed length needs nothing of admission."""

from __future__ import annotations

from synth_ray.plan.growth import GrownPlan
from synth_ray.records import Request


class StaticPlans:
    """Every planned request, once. See `driver.Plans`."""

    def __init__(self, planner: GrownPlan) -> None:
        self._planner = planner

    def next_requests(self, chunk: int, *, frontier: int) -> list[Request] | None:
        return self._planner.chunk(chunk)
