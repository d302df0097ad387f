"""What a cluster has, and what its autoscaler may add to it, read from Ray."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import ray
import yaml

from synth_ray.cluster.autoscaler import free_resources, recorded_groups, told_of_autoscaler
from synth_ray.cluster.internals import draining_deadlines
from synth_ray.job.running import Cluster

Resources = Mapping[str, float]
Labels = Mapping[str, str]

_HEAD = "node:__internal_head__"
_BOOTSTRAP_FILE = "ray_bootstrap_config.yaml"
"""Written by `ray up` into the home folder of the head's user: the cluster's own configuration."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node that is up and not being drained: all of its resources, those no actor holds, and its labels."""

    total: Resources
    free: Resources
    labels: Labels
    node_id: str = ""
    is_head: bool = False


@dataclass(frozen=True, slots=True)
class NodeGroup:
    """Nodes that the autoscaler may start: the resources and labels of each, and the most there may be, those now up included."""

    resources: Resources
    labels: Labels
    most: int


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """`autoscaler`: whether nodes may be added by one; `unknown` where Ray does not say. `groups`: what it may start, `most_gpus`
    its most; both None where nobody says. `infeasible`: requests of which the autoscaler says that none of its nodes holds them.
    """

    nodes: tuple[Node, ...]
    autoscaler: Literal["yes", "no", "unknown"] = "unknown"
    groups: tuple[NodeGroup, ...] | None = None
    most_gpus: float | None = None
    infeasible: tuple[Resources, ...] = ()

    @property
    def gpus_on_a_node(self) -> float:
        """The most GPUs of one node that is there, or that the autoscaler is known to start."""
        resources = [*(node.total for node in self.nodes), *(group.resources for group in self.groups or () if group.most)]
        return max((each.get("GPU", 0.0) for each in resources), default=0.0)

    @property
    def autoscaler_gpus(self) -> float | None:
        """The most GPUs that the cluster may come to have by its autoscaler; None where that is not known."""
        if self.most_gpus is not None or self.groups is None:
            return self.most_gpus
        return sum(group.resources.get("GPU", 0.0) * group.most for group in self.groups)


def cluster_facts(cluster: Cluster) -> ClusterFacts:
    """The facts of the Ray that this process is connected to. One node without an address is a Ray of this machine's own."""
    free, leaving = free_resources(), draining_deadlines()
    nodes = [
        Node(
            total=node["Resources"],
            free=free.get(node["NodeID"], {}),
            labels=node["Labels"],
            node_id=node["NodeID"],
            is_head=_HEAD in node["Resources"],
        )
        for node in ray.nodes()
        if node["Alive"] and node["NodeID"] not in leaving
    ]
    groups, told = _groups(), told_of_autoscaler()
    grows = "yes" if groups or cluster.most_gpus is not None else told.exists
    if grows == "unknown" and not cluster.address and len(nodes) == 1:
        grows = "no"
    return ClusterFacts(tuple(nodes), grows, groups, cluster.most_gpus, told.infeasible)


def _groups() -> tuple[NodeGroup, ...] | None:
    """What the autoscaler may start: by Ray's own record, which some services keep, or by the file of `ray up` on the head."""
    recorded = recorded_groups()
    if recorded is not None:
        return tuple(NodeGroup(resources, {}, most) for resources, most in recorded)
    file = Path(os.path.expanduser("~")) / _BOOTSTRAP_FILE
    try:
        return groups_of(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, yaml.YAMLError):
        return None


def groups_of(config: Any) -> tuple[NodeGroup, ...] | None:
    """The groups of a configuration of `ray up`; None where a group's resources are left for the cloud to tell."""
    types = config.get("available_node_types") if isinstance(config, dict) else None
    if not isinstance(types, dict):
        return None
    most_of_all = int(config.get("max_workers") or 0)
    groups: list[NodeGroup] = []
    for name, kind in types.items():
        most = 1 if name == config.get("head_node_type") else min(int(kind.get("max_workers") or 0), most_of_all)
        if most and not kind.get("resources"):
            return None
        groups.append(NodeGroup(kind.get("resources") or {}, kind.get("labels") or {}, most))
    return tuple(groups)
