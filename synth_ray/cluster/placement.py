"""Where actors are placed: each with its GPUs on one node, or a placement group for an engine over several nodes."""

from __future__ import annotations

from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from synth_ray.cluster.capacity import uses_head
from synth_ray.cluster.facts import ClusterFacts, cluster_facts
from synth_ray.cluster.wants import (
    CPUS_OF_A_SHARD,
    Want,
    matches,
    nodes_for,
    options_of,
    role_want,
    selectors_of,
    teacher_want,
    times_in,
    wants_of,
)
from synth_ray.job.document import Job

_NO_ACCELERATORS = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1"}
"""Without it Ray leaves all accelerators of a node visible to an actor that requests none (ray issue 54868)."""

_ROLE_CALLS = 1000
"""Calls that a role's replica serves at once: one waits for each client's answers."""


def start_replica(actor: type, job: Job) -> tuple[Any, PlacementGroup | None]:
    """The actor's handle and its placement group, if any. The caller ends both.

    An engine that spans nodes (`engine_args.distributed_executor_backend: ray`) finds its GPUs in the placement group of the
    actor that starts it: one bundle per GPU, packed on as few nodes as possible. Any other engine's actor holds all its GPUs
    itself, and sees no other.
    """
    facts = cluster_facts(job.cluster)
    want, on_head = teacher_want(job, facts), uses_head(job, facts)
    limits = {"max_concurrency": 4, "max_restarts": 0} | _hiding_gpus(want, facts)
    if want.bundles == 1:
        return _started(actor, want, limits | options_of(want, facts, on_head=on_head), job), None
    selector = _of_a_group(want, facts, on_head=on_head)
    labelled = {"bundle_label_selector": [selector] * want.bundles} if selector else {}
    group = placement_group([dict(want.resources)] * want.bundles, strategy="PACK", **labelled)
    where = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=0, placement_group_capture_child_tasks=True)
    remote = ray.remote(num_cpus=0)(actor)
    return remote.options(scheduling_strategy=where, **limits).remote(job), group


def start_role(actor: type, job: Job, role: str) -> Any:
    """The handle of an asynchronous actor for one replica of a role's pool, with its own GPUs."""
    facts = cluster_facts(job.cluster)
    want = role_want(job, role, facts)
    limits = {"max_concurrency": _ROLE_CALLS, "max_restarts": 0} | _hiding_gpus(want, facts)
    return _started(actor, want, limits | options_of(want, facts, on_head=uses_head(job, facts)), job, role)


def stager_options(job: Job) -> dict[str, Any]:
    """Ray's options for a stager. Ray itself packs them, and keeps what needs no GPU off the nodes that have some."""
    facts = cluster_facts(job.cluster)
    return options_of(wants_of(job, facts)[0], facts, on_head=uses_head(job, facts))


def shard_options(job: Job) -> dict[str, Any]:
    """Ray's options that keep an index shard off the head as everything else."""
    facts = cluster_facts(job.cluster)
    return options_of(Want("shard", {"CPU": CPUS_OF_A_SHARD}), facts, on_head=uses_head(job, facts))


def _started(actor: type, want: Want, options: dict[str, Any], *arguments: Any) -> Any:
    remote = ray.remote(num_cpus=want.resources.get("CPU", 0), num_gpus=want.resources.get("GPU", 0))(actor)
    return remote.options(**options).remote(*arguments)


def _hiding_gpus(want: Want, facts: ClusterFacts) -> dict[str, Any]:
    """An actor that requests no GPU on a cluster that has some, or may come to have some, sees none."""
    has_gpus = facts.gpus_on_a_node or facts.autoscaler == "yes"
    return {"runtime_env": {"env_vars": _NO_ACCELERATORS}} if has_gpus and not want.resources.get("GPU") else {}


def _of_a_group(want: Want, facts: ClusterFacts, *, on_head: bool) -> dict[str, str]:
    """The labels of all bundles. A placement group knows no second choice: it is made here, by the nodes that there are."""
    selectors = selectors_of(want, facts, on_head=on_head)
    for selector in selectors:
        nodes = [node for node in nodes_for(want, facts, on_head=on_head) if matches(node.labels, selector)]
        if sum(times_in(want, node.total) for node in nodes) >= want.bundles:
            return selector
    return selectors[0]


def end_replica(actor: Any, group: PlacementGroup | None) -> None:
    """End the process, and give back its place. See `start_replica`."""
    ray.kill(actor)
    if group is not None:
        remove_placement_group(group)
