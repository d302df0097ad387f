"""The Ray session of a run: the one this process is already in, a cluster at an address, or a local one of its own."""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RayError

from synth_ray.errors import SynthRayError
from synth_ray.job.running import Cluster

_own_sessions: set[str] = set()
"""GCS addresses of local sessions that were started here: nobody else runs there."""


def is_shared() -> bool:
    """Whether others may run on the cluster that this process is in."""
    return ray.get_runtime_context().gcs_address not in _own_sessions


@contextmanager
def _restoring_sigterm_handler() -> Iterator[None]:
    """Ray installs a SIGTERM handler that exits at once; restore ours, which stops cleanly."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@_restoring_sigterm_handler()
def start_ray(cluster: Cluster) -> bool:
    """Returns whether Ray was started or joined here, so that the caller must leave it. Raises SynthRayError without one."""
    if ray.is_initialized():
        return False
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if cluster.address:
            ray.init(address=cluster.address, **quiet)
        else:
            wanted = _cpus(cluster) + cluster.stagers
            ray.init(
                address="local",
                num_cpus=max(int(wanted + 1), os.cpu_count() or 1),
                include_dashboard=False,
                object_store_memory=cluster.object_store_bytes,
                runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}},
                **quiet,
            )
            _own_sessions.add(ray.get_runtime_context().gcs_address)
    except (RayError, ConnectionError, RuntimeError, ValueError) as error:
        place = cluster.address or "on this machine"
        if others := _other_versions(str(error)):
            raise SynthRayError(f"cluster.address: {others}") from None
        raise SynthRayError(f"cluster.address: wanted a Ray {place}, got {type(error).__name__}: {error}") from None
    return True


def _other_versions(text: str) -> str:
    """What Ray's refusal of a cluster of other versions says, in our words; nothing where it says something else."""
    found = re.findall(r"Ray: (\S+)\s+Python: (\S+)", text) if text.startswith("Version mismatch") else []
    if len(found) != 2:
        return ""
    (there, python_there), (here, python_here) = found
    return (
        f"wanted a cluster of Ray {here} and Python {python_here}, as this environment has, got one of Ray {there} and Python "
        f"{python_there}; run from an environment like the cluster's, or start the cluster from this one's image"
    )


def _cpus(cluster: Cluster) -> float:
    """What all replicas request at once, however they are divided."""
    if cluster.replicas is not None:
        return cluster.replicas * max(cluster.cpus_per_teacher, cluster.cpus_per_judge)
    judges = cluster.all_replicas - cluster.first_teachers
    return cluster.first_teachers * cluster.cpus_per_teacher + judges * cluster.cpus_per_judge
