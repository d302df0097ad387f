"""What Ray tells of free resources and of its autoscaler. As `internals`, it uses what Ray does not promise to keep.

`tests/house/test_internals.py` fails with a plain sentence when an upgrade moves any of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import ray
from ray._private.state import state
from ray._raylet import GcsClient  # type: ignore[attr-defined]
from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply
from ray.exceptions import RayError

_STATUS_KEY = b"__autoscaling_status"
_TIMEOUT_S = 10


def free_resources() -> dict[str, dict[str, float]]:
    """By node id, the resources that no actor, task or placement group holds. Ray's public function only tells their sum."""
    free: dict[str, dict[str, float]] = state.available_resources_per_node()
    return free


@dataclass(frozen=True, slots=True)
class Autoscaler:
    """Whether there is one, as far as Ray says, and the requests of which it says that none of its nodes can hold them."""

    exists: Literal["yes", "no", "unknown"]
    infeasible: tuple[Mapping[str, float], ...] = ()


def told_of_autoscaler() -> Autoscaler:
    """Every head has a monitor, with or without an autoscaler: one without names each node's type after the node's own id.
    Version 2 reports through GCS, version 1 in a record that it writes every five seconds.
    """
    try:
        client = GcsClient(address=ray.get_runtime_context().gcs_address)
        status = GetClusterStatusReply.FromString(client.get_cluster_status(timeout_s=_TIMEOUT_S))
        record = client.internal_kv_get(_STATUS_KEY, None)
    except (RayError, RuntimeError):
        return Autoscaler("unknown")
    if status.autoscaling_state.autoscaler_state_version:
        types = [node.ray_node_type_name for node in status.cluster_resource_state.node_states]
        infeasible = [dict(request.resources_bundle) for request in status.autoscaling_state.infeasible_resource_requests]
        return Autoscaler("yes" if any(types) else "no", tuple(infeasible))
    return Autoscaler(_by_record(record))


def _by_record(record: bytes | None) -> Literal["yes", "no", "unknown"]:
    report = json.loads(record).get("autoscaler_report") if record else None
    types = report.get("node_type_mapping") if report else None
    if not types:
        return "unknown"
    return "yes" if any(kind != f"node_{node}" for node, kind in types.items()) else "no"


def recorded_groups() -> list[tuple[dict[str, float], int]] | None:
    """The node groups that a cluster service has told Ray of: a node's resources, and how many there may be. None without any."""
    config = state.get_cluster_config()
    if config is None or not config.node_group_configs:
        return None
    return [(dict(group.resources), int(group.max_count)) for group in config.node_group_configs]
