"""Where a replica is placed: one actor with its GPUs, or a placement group for an engine over several nodes."""

from __future__ import annotations

from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from synth_ray.job.document import Job
from synth_ray.job.engine_args import devices_of
from synth_ray.job.models import engines_of

_NO_ACCELERATORS = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1"}
"""Without it Ray leaves all accelerators of a node visible to an actor that requests none (ray issue 54868)."""

_ROLE_CALLS = 1000
"""Calls that a role's replica serves at once: one waits for each client's answers."""


def gpus_per_replica(job: Job, gpus_in_cluster: float) -> float:
    """The GPUs that a replica requests: what the job says, or what its engines span, each its own or, where the cluster has too
    few, all the same. An engine that runs elsewhere spans none.
    """
    if job.cluster.gpus_per_teacher is not None:
        return job.cluster.gpus_per_teacher
    spans = [model.devices for model in engines_of(job.replica_models)]
    if not gpus_in_cluster:
        return 0
    return sum(spans) if sum(spans) <= gpus_in_cluster else max(spans)


def start_replica(actor: type, job: Job) -> tuple[Any, PlacementGroup | None]:
    """The actor's handle and its placement group, if any. The caller ends both.

    An engine that spans nodes (`engine_args.distributed_executor_backend: ray`) finds its GPUs in the placement group of the
    actor that starts it: one bundle per GPU, packed on as few nodes as possible. Any other engine's actor holds all its GPUs
    itself, and sees no other.
    """
    cluster, devices = job.cluster, devices_of(job.models.teacher.engine_args)
    gpus_in_cluster = ray.cluster_resources().get("GPU", 0.0)
    gpus = gpus_per_replica(job, gpus_in_cluster)
    limits: dict[str, Any] = {"max_concurrency": 4, "max_restarts": 0}
    if gpus_in_cluster and not gpus:
        limits["runtime_env"] = {"env_vars": _NO_ACCELERATORS}
    if not job.models.teacher.spans_nodes:
        remote = ray.remote(num_cpus=cluster.cpus_per_teacher, num_gpus=gpus)(actor)
        return remote.options(**limits).remote(job), None
    bundle = {"CPU": max(cluster.cpus_per_teacher / devices, 0.01)} | ({"GPU": 1.0} if gpus else {})
    group = placement_group([bundle] * devices, strategy="PACK")
    where = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=0, placement_group_capture_child_tasks=True)
    remote = ray.remote(num_cpus=0)(actor)
    return remote.options(scheduling_strategy=where, **limits).remote(job), group


def start_role(actor: type, job: Job, role: str) -> Any:
    """The handle of an asynchronous actor for one replica of a role's pool, with its own GPUs."""
    cluster, gpus_in_cluster = job.cluster, ray.cluster_resources().get("GPU", 0.0)
    gpus = cluster.gpus_per_judge
    if gpus is None:
        gpus = job.pooled_models[role].devices if gpus_in_cluster else 0
    limits: dict[str, Any] = {"max_concurrency": _ROLE_CALLS, "max_restarts": 0}
    if gpus_in_cluster and not gpus:
        limits["runtime_env"] = {"env_vars": _NO_ACCELERATORS}
    return ray.remote(num_cpus=cluster.cpus_per_judge, num_gpus=gpus)(actor).options(**limits).remote(job, role)


def release_group(group: PlacementGroup | None) -> None:
    if group is not None:
        remove_placement_group(group)
