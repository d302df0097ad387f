"""CPU time and memory of processes, read from /proc. A process that has ended counts as zero."""

from __future__ import annotations

import os
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """The process and its descendants."""
    try:
        children = [int(c) for task in Path(f"/proc/{pid}/task").iterdir() for c in (task / "children").read_text().split()]
    except OSError:
        return [pid]
    return [pid, *(p for child in children for p in tree(child))]


def title(pid: int) -> str:
    return _read(pid, "cmdline").replace("\0", " ")


def cpu_s(pid: int) -> float:
    """CPU seconds since its start, user and kernel."""
    fields = _read(pid, "stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK if fields else 0.0


def pss(pid: int) -> int:
    """Proportional set size in bytes: a page that n processes share counts as 1/n."""
    lines = _read(pid, "smaps_rollup").splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:
        return ""
