"""A driver's name, from which another process on the same machine can tell whether the driver is still alive, and its clock."""

from __future__ import annotations

import os
import socket
import time
import uuid
from pathlib import Path


def driver_name() -> str:
    """host/boot/pid-namespace/pid/start-tick/nonce of this process: unique for every call."""
    place = "/".join(_place())
    return f"{place}/{os.getpid()}/{_start_tick(os.getpid()) or '-'}/{uuid.uuid4().hex[:8]}"


def seconds_since_boot() -> float:
    """A clock that nobody sets, and that goes on while the machine is suspended: a lease ends meanwhile."""
    return time.clock_gettime(_BOOT_CLOCK)


_BOOT_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_ended: set[str] = set()


def mark_ended(driver: str) -> None:
    """Record that this process no longer drives under this name, even if the store could not be updated."""
    _ended.add(driver)


def is_dead(driver: str) -> bool:
    """True only where that is certain: it ended in this process, or it ran in this boot and pid namespace and has exited."""
    if driver in _ended:
        return True
    parts = driver.split("/")
    if len(parts) != 6 or tuple(parts[:3]) != _place() or "-" in parts[:3] or not parts[3].isdigit():
        return False
    return _start_tick(int(parts[3])) != parts[4]


def _place() -> tuple[str, str, str]:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        boot = namespace = "-"
    return socket.gethostname().replace("/", "_"), boot, namespace


def _start_tick(pid: int) -> str:
    """When the process started, in ticks since boot; empty when there is no such process, or only a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
