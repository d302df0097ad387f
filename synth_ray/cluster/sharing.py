"""A pool's replicas on a cluster with other jobs: how many it may have, and which it gives up."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from synth_ray.cluster.arbiter import FairShare
from synth_ray.cluster.facts import cluster_facts
from synth_ray.cluster.fair_share import Claim
from synth_ray.cluster.wants import teacher_want
from synth_ray.job.document import Job

log = logging.getLogger(__name__)

GIVEN_UP = "given up: other jobs on this cluster have a right to its accelerators"


@dataclass(frozen=True, slots=True)
class Change:
    """What the pool is to do: start so many replicas, end those that wait for a node, and let others finish and go."""

    starts: int = 0
    cancelled: Sequence[int] = ()
    leaving: Sequence[int] = ()


class Sharing:
    """Keeps the teacher replicas of a job at its fair share. `wanted` is what the job would have if it were alone.

    Law: a job that has a replica keeps one, and one that has none keeps one waiting, so that an autoscaler knows of it; where
    nodes may still be added, one more than the share may wait. A replica that gives way first answers what it has begun.
    """

    def __init__(self, job: Job, clock: Callable[[], float]) -> None:
        self._cluster = job.cluster
        want = teacher_want(job, cluster_facts(job.cluster))
        self._resource = "GPU" if want.resources.get("GPU") else "CPU"
        self._size: float = want.resources.get(self._resource, 0.0) * want.bundles
        self._priority = job.cluster.priority
        self._share = FairShare(f"{job.name}-{uuid.uuid4().hex}", clock)
        self._short_by = 0
        """What was last said."""
        self.wanted = 0

    def change(self, replicas: Sequence[int], *, placed: Collection[int], starting: int) -> Change:
        """`replicas`: those that are to stay, the first to give up first; `placed`: of all, leaving ones too, those that have a
        place; `starting`: others that are about to start.
        """
        held = len(placed) * self._size
        share = self._share.tick(Claim(self._resource, self._size, self.wanted, held, self._priority))
        if share is None or not self._size:
            return Change()
        self._tell(share)
        waiting = [replica for replica in reversed(replicas) if replica not in placed]
        up = [replica for replica in replicas if replica in placed]
        may_hold = share + self._spare(share)
        leaving = up[: max(0, min(len(up) - may_hold, len(up) - 1))]
        allowed = min(max(may_hold, 1), self.wanted)
        over = len(replicas) - len(leaving) + starting - allowed
        return Change(starts=max(0, -over), cancelled=waiting[: max(0, over)], leaving=leaving)

    def _spare(self, share: int) -> int:
        """Replicas beyond the share, without which a cluster that could grow would not: none waits there while all keep to it."""
        return int(share < self.wanted and cluster_facts(self._cluster).autoscaler == "yes")

    def _tell(self, share: int) -> None:
        short_by = max(0, self.wanted - share)
        if short_by and short_by != self._short_by:
            log.warning("other jobs share this cluster: this one has %d of the %d replicas it wants", share, self.wanted)
        elif self._short_by and not short_by:
            log.warning("this job may have all %d replicas it wants again", self.wanted)
        self._short_by = short_by

    def close(self) -> None:
        self._share.leave()
