"""What one run knows of the cluster's nodes: which are being drained, whether the head answers, and that all run one software."""

from __future__ import annotations

from collections.abc import Callable

from synth_ray.cluster.draining import DrainingNodes
from synth_ray.cluster.head import HeadWatch
from synth_ray.cluster.versions import Origin, VersionCheck


class Nodes:
    """Shared by all that run actors for a run: replicas, stagers and index shards."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.head = HeadWatch(clock)
        self.draining = DrainingNodes(clock, head=self.head)
        self._versions = VersionCheck()

    def node_of(self, origin: Origin) -> str:
        """The id of the node. Raises SynthRayError where other versions run there than here."""
        self._versions.require_same(origin)
        return origin[0]
