"""How many cores a process may use: what its control group is given counts, of both versions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from synth_ray.job.cores import usable_cores


@pytest.mark.parametrize(
    ("cgroup", "files", "cores"),
    [
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2),
        (
            "0::/pods/one\n",
            {"sys/fs/cgroup/pods/cpu.max": "300000 100000\n", "sys/fs/cgroup/pods/one/cpu.max": "max 100000\n"},
            3,
        ),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "10000 100000\n"}, 1),
        (
            "4:cpu,cpuacct:/docker/one\n3:memory:/\n",
            {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"},
            2,
        ),
        ("4:cpu:/\n", {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ("0::/\n", {}, 64),
    ],
)
def test_no_more_than_the_control_group_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cgroup: str, files: dict[str, str], cores: int
) -> None:
    for name, text in ({"proc/self/cgroup": cgroup} | files).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    assert usable_cores(tmp_path) == cores
