"""How the memory of an accelerator is divided among the engines that share it, told from the job alone.

vLLM's `gpu_memory_utilization` is a share of the device's *whole* memory, whoever holds the rest: `request_memory` in its
`v1/worker/utils.py` takes total × share, and refuses to start where less than that is free. So shares add up, and those of one
device must be at most 1 together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synth_ray.errors import JobError
from synth_ray.job.document import Job
from synth_ray.job.models import Model, engines_of

UTILIZATION, KV_BYTES = "gpu_memory_utilization", "kv_cache_memory_bytes"

USABLE = 0.9
"""Of a device's memory, what the engines on it are given together. Each process has besides a context of about half a gigabyte,
which vLLM does not count: it looks at the memory once the context is made.
"""

_SLACK, _SLACK_OF_A_FRACTION = 1e-6, 1e-3  # three thirds are given as 0.3333 each


def device_fraction(job: Job, role: str = "teacher", *, on_cpu: bool = False) -> float:
    """The part of an accelerator that is one replica's: 1 where it has its accelerators alone.

    Below 1 where the job gives a replica less than a GPU, and for replicas that are threads of one process, which all see the
    same accelerators. `on_cpu`: engines run on CPUs, where only the job can say that replicas share.
    """
    cluster = job.cluster
    gpus = cluster.gpus_per_judge if role in job.pooled_models else cluster.gpus_per_teacher
    if gpus is not None and 0 < gpus < 1:
        return gpus
    if cluster.engine == "local" and gpus is None and not on_cpu:
        return 1 / cluster.all_replicas
    return 1.0


def replicas_on_device(job: Job, role: str, fraction: float) -> int:
    """The most replicas of a pool that are on one accelerator."""
    cluster = job.cluster
    most = cluster.judges if role in job.pooled_models else cluster.first_teachers
    if cluster.replicas is not None:
        most = cluster.replicas - 1  # all but the one that the other pool keeps
    return max(1, min(most, int(1 / fraction + _SLACK_OF_A_FRACTION)))


def utilizations(engines: Sequence[Mapping[str, Any]], fraction: float) -> list[float]:
    """`gpu_memory_utilization` of each engine of a replica, by their arguments, where they share the replica's part of a device.

    What an engine says itself it gets; the others have equal parts of what is left of USABLE × fraction. Raises JobError where
    nothing is left for them.
    """
    said = [engine.get(UTILIZATION) for engine in engines]
    unsaid, whole = said.count(None), USABLE * fraction
    left = whole - sum(share for share in said if share is not None)
    own = math.floor(left / max(1, unsaid) * 1e4 + _SLACK) / 1e4
    if unsaid and own <= 0:
        raise JobError(
            f"engine_args.{UTILIZATION}: wanted a part of {whole:g} of the device left for {unsaid} of {len(engines)} engines of "
            f"a replica, got {whole - left:g} taken by the others; lower theirs, or leave them out"
        )
    return [own if share is None else float(share) for share in said]


@dataclass(frozen=True, slots=True)
class Sharing:
    """A kind of replica whose engines share an accelerator, among themselves or with other replicas: the part of it that is one
    replica's, how many of them may be on one at once, and `gpu_memory_utilization` of each of its engines.
    """

    role: str
    fraction: float
    at_once: int
    shares: tuple[float, ...]


def sharing_replicas(job: Job, *, on_cpu: bool = False) -> list[Sharing]:
    """As far as the job tells: on Ray without `gpus_per_teacher` the cluster decides whether a replica's engines share. Raises
    JobError as `utilizations`.
    """
    found = []
    for role in ("teacher", *job.pooled_models):
        fraction = device_fraction(job, role, on_cpu=on_cpu)
        if engines := _sharing_engines(job, role, fraction):
            shares = utilizations([model.engine_args for model in engines], fraction)
            found.append(Sharing(role, fraction, replicas_on_device(job, role, fraction), tuple(shares)))
    return found


def _sharing_engines(job: Job, role: str, fraction: float) -> list[Model]:
    models = {role: job.pooled_models[role]} if role in job.pooled_models else job.replica_models
    engines = [model for model in engines_of(models) if model.devices]
    gpus = job.cluster.gpus_per_judge if role in job.pooled_models else job.cluster.gpus_per_teacher
    share_themselves = job.cluster.engine == "local" if gpus is None else 0 < gpus < sum(model.devices for model in engines)
    return engines if fraction < 1 or (len(engines) > 1 and share_themselves) else []


def refuse_full_devices(job: Job, *, on_cpu: bool = False) -> None:
    """Raise JobError where engines that may come to share an accelerator would take more than all of its memory."""
    room, total, counts = 1.0, 0.0, []
    kinds = sharing_replicas(job, on_cpu=on_cpu)
    for kind in sorted(kinds, key=lambda kind: sum(kind.shares) / kind.fraction, reverse=True):
        count = min(kind.at_once, int(room / kind.fraction + _SLACK_OF_A_FRACTION))
        room, total = room - count * kind.fraction, total + count * sum(kind.shares)
        counts += [f"{count} × {share:g} ({kind.role})" for share in kind.shares if count]
    if total > 1 + _SLACK:
        raise JobError(
            f"models.{kinds[0].role}.engine_args.{UTILIZATION}: wanted at most 1 in all for the engines on one accelerator, got "
            f"{total:g}: {', '.join(counts)}; leave it out, and each gets its part of {USABLE:g}, or lower it"
        )


def memory_notes(job: Job, *, on_cpu: bool = False) -> list[str]:
    """What is said before the start of accelerators that engines share: a line for each kind of replica."""
    notes = []
    for kind in sharing_replicas(job, on_cpu=on_cpu):
        engines, own = kind.at_once * len(kind.shares), " or ".join(sorted({f"{share:g}" for share in kind.shares}))
        parts = f"{kind.fraction / len(kind.shares):.3g} of VLLM_CPU_KVCACHE_SPACE" if on_cpu else f"{own} of its memory"
        if engines > 1:
            where = f"{kind.role} replicas, {kind.at_once} at once" if kind.at_once > 1 else f"a {kind.role} replica"
            notes.append(f"{engines} engines of {where}, share an accelerator: each has {parts}; they start one after the other")
    return notes
