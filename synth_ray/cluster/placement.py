"""Where a replica is placed: one actor with its GPUs, or a placement group for an engine over several nodes."""

from __future__ import annotations

from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from synth_ray.job.document import Job


def start_replica(actor: type, job: Job) -> tuple[Any, PlacementGroup | None]:
    """The actor's handle and its placement group, if any. The caller ends both.

    An engine that spans nodes (`engine_args.distributed_executor_backend: ray`) finds its GPUs in the placement group of the
    actor that starts it: one bundle per GPU, packed on as few nodes as possible. Any other engine's actor holds all its GPUs
    itself.
    """
    cluster, devices = job.cluster, job.models.teacher.devices
    if not job.models.teacher.spans_nodes:
        remote = ray.remote(num_cpus=cluster.cpus_per_teacher, num_gpus=cluster.gpus_per_teacher)(actor)
        return remote.options(max_concurrency=4, max_restarts=0).remote(job), None
    bundle = {"CPU": max(cluster.cpus_per_teacher / devices, 0.01)} | ({"GPU": 1.0} if cluster.gpus_per_teacher else {})
    group = placement_group([bundle] * devices, strategy="PACK")
    where = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=0, placement_group_capture_child_tasks=True)
    remote = ray.remote(num_cpus=0)(actor)
    return remote.options(scheduling_strategy=where, max_concurrency=4, max_restarts=0).remote(job), group


def release_group(group: PlacementGroup | None) -> None:
    if group is not None:
        remove_placement_group(group)
