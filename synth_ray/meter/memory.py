"""How much memory this process has taken, how much the machine or the container has, and how near it is to its end."""

from __future__ import annotations

import os
import re
import resource
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from synth_ray.job.cgroups import group_folders

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True, slots=True)
class Taken:
    """Bytes that the system cannot take back, of the most that there are."""

    used: int
    most: int


def used_bytes() -> int:
    """The process's own memory, without mapped files, whose pages the system takes back, and without Ray's object store. Where
    that is not told (macOS), the most that the process ever had.
    """
    try:
        found = re.search(r"RssAnon:\s+(\d+) kB", _STATUS.read_text())
    except OSError:
        found = None
    if found:
        return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def machine_bytes(root: Path = Path("/")) -> int:
    """The memory of the machine or, where that is less, of the control group that this process is in, of version 2 or 1."""
    return min([_physical_bytes(), *(limit for _, _, limit in _limits(root))])


def taken_by_all(root: Path = Path("/")) -> Taken | None:
    """By all processes of the control group that is nearest to its limit, Ray's object store included; by those of the machine
    where no group has one. None where that is not told.
    """
    groups = [_taken_in(*group) for group in _limits(root) if group[2] < _physical_bytes()]
    found = [taken for taken in groups if taken is not None]
    return max(found, key=lambda taken: taken.used / taken.most, default=None) if groups else _taken_of_machine(root)


def _physical_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _limits(root: Path) -> Iterator[tuple[Path, bool, int]]:
    """Groups that have a limit: the folder, whether it is of version 1, and the limit."""
    for folder, is_v1 in group_folders("memory", root):
        try:
            text = (folder / ("memory.limit_in_bytes" if is_v1 else "memory.max")).read_text().strip()
        except OSError:
            continue
        if text.isdecimal() and int(text):  # version 2 says "max" where there is none
            yield folder, is_v1, int(text)


def _taken_in(folder: Path, is_v1: bool, most: int) -> Taken | None:
    """What the group has, without what it only keeps of files. Shared memory is not among that."""
    try:
        used = int((folder / ("memory.usage_in_bytes" if is_v1 else "memory.current")).read_text())
        held = _numbers((folder / "memory.stat").read_text())
    except (OSError, ValueError):
        return None
    kept = ("total_active_file", "total_inactive_file") if is_v1 else ("active_file", "inactive_file", "slab_reclaimable")
    return Taken(max(0, used - sum(held.get(name, 0) for name in kept)), most)


def _taken_of_machine(root: Path) -> Taken | None:
    try:
        told = _numbers((root / "proc/meminfo").read_text())
    except OSError:
        return None
    if not (told.get("MemTotal") and "MemAvailable" in told):
        return None
    free = told["MemAvailable"] + told.get("SwapFree", 0)
    return Taken(1024 * max(0, told["MemTotal"] - free), 1024 * told["MemTotal"])


def _numbers(text: str) -> Mapping[str, int]:
    """Lines of a name and a number."""
    return {name: int(number) for name, number in re.findall(r"^(\w+):?\s+(\d+)", text, re.MULTILINE)}
