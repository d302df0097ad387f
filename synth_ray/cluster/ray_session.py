"""The Ray session of a run: the one this process is already in, a cluster at an address, or a local one of its own."""

from __future__ import annotations

import logging
import os
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
    except (RayError, ConnectionError, RuntimeError, ValueError) as error:
        place = cluster.address or "on this machine"
        raise SynthRayError(f"cluster.address: wanted a Ray {place}, got {type(error).__name__}: {error}") from None
    return True


def _cpus(cluster: Cluster) -> float:
    """What all replicas request at once, however they are divided."""
    if cluster.replicas is not None:
        return cluster.replicas * max(cluster.cpus_per_teacher, cluster.cpus_per_judge)
    judges = cluster.all_replicas - cluster.first_teachers
    return cluster.first_teachers * cluster.cpus_per_teacher + judges * cluster.cpus_per_judge
