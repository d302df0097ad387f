"""A driver that would be killed for its memory stops first, and the run goes on elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import synth_ray
from synth_ray.drive.memory_limit import MemoryLimit
from synth_ray.job.load import job_from
from synth_ray.job.running import Limits
from synth_ray.meter.memory import Taken, machine_bytes, taken_by_all, used_bytes
from synth_ray.meter.tally import Tally
from synth_ray.route.preflight import preflight
from tests.route.test_route import job

MB = 1 << 20


def test_a_driver_over_its_memory_stops_with_what_is_admitted_and_goes_on_with_more(tmp_path: Path) -> None:
    whole = synth_ray.run(job(tmp_path, str(tmp_path / "whole"))).manifest
    held: list[bytes] = []

    def grow(tally: Any) -> None:
        if tally.chunks_admitted >= 2 and not held:
            held.append(b"x" * (400 * MB))

    limits = {"memory_bytes": used_bytes() + 200 * MB}
    short = synth_ray.run(job(tmp_path, str(tmp_path / "out"), limits=limits), watch=grow)
    assert short.stopped.startswith("limits.memory_bytes: wanted at most ")
    assert "the index of kept rows has " in short.stopped
    assert (short.exit_code, short.manifest["complete"]) == (4, False)
    assert 0 < short.manifest["rows"]["requested"] < whole["rows"]["requested"]
    held.clear()
    resumed = synth_ray.run(job(tmp_path, str(tmp_path / "out")))
    assert (resumed.stopped, resumed.manifest["dataset_digest"]) == ("", whole["dataset_digest"])


@pytest.mark.parametrize(
    ("group", "limits", "most"),
    [
        ("0::/pods/one\n", {"sys/fs/cgroup/pods/memory.max": "70000\n", "sys/fs/cgroup/pods/one/memory.max": "max\n"}, 70000),
        ("0::/\n4:cpu:/\n", {"sys/fs/cgroup/memory.max": "60000"}, 60000),
        ("9:memory:/docker/x\n0::/\n", {"sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": "50000"}, 50000),
        ("9:memory:/docker/x\n", {"sys/fs/cgroup/memory/memory.limit_in_bytes": "40000"}, 40000),
        ("9:memory:/\n", {"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712"}, None),
        ("0::/gone\n", {}, None),
    ],
)
def test_the_memory_of_a_container_is_that_of_its_groups(
    tmp_path: Path, group: str, limits: dict[str, str], most: int | None
) -> None:
    for name, text in {"proc/self/cgroup": group, **limits}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert machine_bytes(tmp_path) == (most or machine_bytes(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("group", "files", "taken"),
    [
        (
            "0::/pods/one\n",
            {
                "sys/fs/cgroup/pods/one/memory.max": "1000\n",
                "sys/fs/cgroup/pods/one/memory.current": "990\n",
                "sys/fs/cgroup/pods/one/memory.stat": "anon 500\nshmem 300\ninactive_file 30\n",
            },
            Taken(960, 1000),
        ),
        (
            "9:memory:/docker/x\n",
            {
                "sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": "1000",
                "sys/fs/cgroup/memory/docker/x/memory.usage_in_bytes": "900",
                "sys/fs/cgroup/memory/docker/x/memory.stat": "active_file 1\ntotal_inactive_file 200\ntotal_active_file 100\n",
            },
            Taken(600, 1000),
        ),
        (
            "0::/\n",
            {"proc/meminfo": "MemTotal:  100 kB\nMemFree: 1 kB\nMemAvailable:  3 kB\nSwapFree:  2 kB\n"},
            Taken(95 * 1024, 100 * 1024),
        ),
        ("0::/\n", {}, None),
    ],
)
def test_what_all_processes_hold_is_without_what_the_system_takes_back(
    tmp_path: Path, group: str, files: dict[str, str], taken: Taken | None
) -> None:
    for name, text in {"proc/self/cgroup": group, **files}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert taken_by_all(tmp_path) == taken


def test_a_small_driver_beside_others_that_fill_the_machine_stops_too() -> None:
    now, taken = 0.0, Taken(90, 100)
    limit = MemoryLimit(Limits(), tally=Tally(), used=lambda: 50, by_all=lambda: taken, clock=lambda: now)
    assert not limit.is_passed
    now, taken = 5.0, Taken(96, 100)
    assert limit.is_passed
    assert "got 96 bytes in use by all that runs here, 50 bytes of it by the driver" in limit.message()
    unlimited = MemoryLimit(Limits(memory_bytes=0), tally=Tally(), used=lambda: 50, by_all=lambda: taken)
    assert not unlimited.is_passed


def test_check_says_when_the_rows_of_a_plan_would_not_fit(tmp_path: Path) -> None:
    [note] = preflight(job_from(job(tmp_path, str(tmp_path / "out"), limits={"memory_bytes": 100_000}))).notes
    assert "600 rows of" in note and "in the driver's index" in note
    assert preflight(job_from(job(tmp_path, str(tmp_path / "out")))).notes == ()
