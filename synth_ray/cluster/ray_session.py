"""The Ray a run works on: the one this process is already in, the one at an address, or a local one of its own."""

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
def _handlers_kept() -> Iterator[None]:
    """Ray puts its own SIGTERM handler in place, which exits at once; ours stops cleanly."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@_handlers_kept()
def start_ray(cluster: Cluster) -> bool:
    """Whether it was started or joined here, so that it is the caller's to leave. Raises SynthRayError where there is none."""
    if ray.is_initialized():
        return False
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if cluster.address:
            ray.init(address=cluster.address, **quiet)
        else:
            wanted = cluster.teachers * cluster.cpus_per_teacher + cluster.stagers
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
