"""Actors that were started away from the head, and may stand on it once the nodes that were to hold them are gone."""

from __future__ import annotations

from collections.abc import Iterable

from synth_ray.cluster.capacity import uses_head
from synth_ray.cluster.facts import ClusterFacts, cluster_facts
from synth_ray.cluster.wants import Want, nodes_for, wants_of
from synth_ray.job.document import Job


class KeptOffHead:
    """Ray counts a lost node as up for a while: what starts meanwhile is kept off the head for that node's sake, and would wait
    for it without end.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._kept: dict[int, Want] = {}

    def note(self, number: int, role: str) -> None:
        """Call when an actor of this kind starts."""
        self._kept.pop(number, None)
        for want, may_stand_there in self._wants(cluster_facts(self._job.cluster)):
            if want.role == role and not may_stand_there:
                self._kept[number] = want

    def may_move(self, waiting: Iterable[int]) -> list[int]:
        """Those that could stand on the head if they started now, and would ask for the same resources. None where nodes may
        still come by themselves, or Ray does not say whether they do.
        """
        kept = [number for number in waiting if number in self._kept]
        facts = cluster_facts(self._job.cluster) if kept else None
        if facts is None or facts.autoscaler != "no":
            return []
        welcome = {want.role: want.resources for want, may_stand_there in self._wants(facts) if may_stand_there}
        return [number for number in kept if welcome.get(self._kept[number].role) == self._kept[number].resources]

    def _wants(self, facts: ClusterFacts) -> list[tuple[Want, bool]]:
        """Each kind of actor with whether it may stand on the head."""
        on_head = uses_head(self._job, facts)
        wants = wants_of(self._job, facts)
        return [(want, any(node.is_head for node in nodes_for(want, facts, on_head=on_head))) for want in wants]
