"""How many cores this process may use."""

from __future__ import annotations

import os
from math import ceil
from pathlib import Path

from synth_ray.job.cgroups import group_folders


def usable_cores(root: Path = Path("/")) -> int:
    """The cores that this process may run on or, where that is less, the time of cores that its control group is given, of
    version 2 or 1, rounded up.
    """
    quotas = [_quota(folder, is_v1=is_v1) for folder, is_v1 in group_folders("cpu", root)]
    return max(1, ceil(min([len(os.sched_getaffinity(0)), *filter(None, quotas)])))


def _quota(folder: Path, *, is_v1: bool) -> float | None:
    """In cores. The files have microseconds of time in each period of so many; "max" or -1 where there is no limit."""
    names = ("cpu.cfs_quota_us", "cpu.cfs_period_us") if is_v1 else ("cpu.max",)
    try:
        quota, period = " ".join((folder / name).read_text() for name in names).split()
    except (OSError, ValueError):
        return None
    return int(quota) / int(period) if quota.isdecimal() else None
