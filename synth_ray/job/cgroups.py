"""The control groups of this process, which limit what it may use of the machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def group_folders(controller: str, root: Path = Path("/")) -> Iterator[tuple[Path, bool]]:
    """Folders of the group that this process is in and of all above it, innermost first, and whether each is of version 1. Some
    may not exist: inside a container its own group is often the root.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for controllers, path in (line.split(":", 2)[1:] for line in lines if line.count(":") >= 2):
        if controllers and controller not in controllers.split(","):
            continue
        top = root / (f"sys/fs/cgroup/{controller}" if controllers else "sys/fs/cgroup")
        group = Path(path.lstrip("/"))
        for folder in dict.fromkeys([group, *group.parents]):
            yield top / folder, bool(controllers)
