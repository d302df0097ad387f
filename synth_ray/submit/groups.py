"""How many pods of which shape a job needs: one group for the CPU work, one for each pool of engines on GPUs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from synth_ray.errors import JobError
from synth_ray.job.document import Job
from synth_ray.job.models import engines_of
from synth_ray.submit.values import Values

_CPUS_OF_A_SHARD = 0.01


@dataclass(frozen=True, slots=True)
class Group:
    """A worker group: at most `most` replicas of it, each of `hosts` pods with `gpus` GPUs. `cpus` is what Ray may give away of a
    pod; None is all. `pool` is the Ray label of its nodes.
    """

    name: str
    pool: str
    most: int
    gpus: int = 0
    hosts: int = 1
    cpus: int | None = None


@dataclass(frozen=True, slots=True)
class _Pool:
    """Replicas of one kind: how many at most, and what each requests of Ray."""

    name: str
    key: str
    replicas: int
    gpus: float
    cpus: float
    spans_nodes: bool = False


def groups_of(job: Job, values: Values) -> list[Group]:
    """The CPU group first. Raises JobError for a replica that no pod of these values could hold."""
    pools = _pools(job, values)
    return [_cpu_group(job, pools, values), *(_gpu_group(pool, values) for pool in pools if pool.gpus)]


def overrides_of(job: Job, values: Values) -> dict[str, float]:
    """The keys that the job must be started with, and their values: a cluster that has no GPU yet cannot tell by itself what a
    replica requests, and must not take its engines for ones that run on CPUs.
    """
    said = {"cluster.gpus_per_teacher": job.cluster.gpus_per_teacher, "cluster.gpus_per_judge": job.cluster.gpus_per_judge}
    return {pool.key: pool.gpus for pool in _pools(job, values) if pool.gpus and said[pool.key] is None}


def _pools(job: Job, values: Values) -> list[_Pool]:
    cluster = job.cluster
    # Replicas that move between pools may all be of one, but for the one that the other keeps.
    most = None if cluster.replicas is None else cluster.replicas - 1
    gpus, spans = _gpus_per_teacher(job, values), job.models.teacher.spans_nodes
    pools = [_Pool("teacher", "cluster.gpus_per_teacher", most or cluster.teachers, gpus, cluster.cpus_per_teacher, spans)]
    for role, model in job.pooled_models.items():
        gpus = model.devices if cluster.gpus_per_judge is None else cluster.gpus_per_judge
        pools.append(_Pool(role, "cluster.gpus_per_judge", most or cluster.judges, gpus, cluster.cpus_per_judge))
    return pools


def _gpus_per_teacher(job: Job, values: Values) -> float:
    """What the job says, or what a replica's engines span: each its own, or, where a node has too few, all the same."""
    if job.cluster.gpus_per_teacher is not None:
        return job.cluster.gpus_per_teacher
    spans = [model.devices for model in engines_of(job.replica_models)]
    too_many = sum(spans) > values.gpu.per_node and not job.models.teacher.spans_nodes
    return max(spans) if too_many else sum(spans)


def _gpu_group(pool: _Pool, values: Values) -> Group:
    """Pods of exactly one replica's GPUs, so that a lost node takes one replica with it; several replicas share a GPU only where
    each wants less than one. Only the replica's own CPUs are given to Ray: a stager there would keep a GPU from leaving.
    """
    gpus, per_node = math.ceil(pool.gpus), values.gpu.per_node
    together = max(1, int(1 / pool.gpus))
    hosts = 1
    if gpus > per_node:
        if not pool.spans_nodes or gpus % per_node:
            raise JobError(
                f"gpu.per_node: wanted the {gpus} GPUs of a {pool.name} replica on one node"
                + (f", or a divisor of {gpus} for an engine over several" if pool.spans_nodes else "")
                + f", got {per_node}; correct gpu.per_node of the values, or {pool.key} or the engine_args of the job"
            )
        hosts, gpus = gpus // per_node, per_node
    cpus = math.ceil(pool.cpus * together / hosts) or 1
    _refuse_few_cpus("gpu.cpus", cpus, values.gpu.cpus, pool.name)
    return Group(f"gpu-{pool.name}", pool.name, most=math.ceil(pool.replicas / together), gpus=gpus, hosts=hosts, cpus=cpus)


def _cpu_group(job: Job, pools: list[_Pool], values: Values) -> Group:
    served = [pool for pool in pools if not pool.gpus]
    for pool in served:
        _refuse_few_cpus("cpu.cpus", math.ceil(pool.cpus), values.cpu.cpus, pool.name)
    shards = _CPUS_OF_A_SHARD * job.cluster.index_shards
    cpus = job.cluster.stagers + shards + sum(pool.replicas * pool.cpus for pool in served)
    return Group("cpu", "cpu", most=math.ceil(cpus / values.cpu.cpus))


def _refuse_few_cpus(key: str, wanted: int, got: int, pool: str) -> None:
    if wanted > got:
        raise JobError(f"{key}: wanted at least {wanted} CPUs for a {pool} replica, got {got}; raise it in the values")
