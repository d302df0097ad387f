"""The name of a driver: enough to tell, on its own machine, whether it is still alive."""

from __future__ import annotations

import os
import socket
import uuid
from pathlib import Path


def driver_name() -> str:
    """host/boot/pid-namespace/pid/start-tick/nonce of this process: never the same twice."""
    place = "/".join(_place())
    return f"{place}/{os.getpid()}/{_start_tick(os.getpid()) or '-'}/{uuid.uuid4().hex[:8]}"


_ended: set[str] = set()


def mark_ended(driver: str) -> None:
    """This process no longer drives under this name, whether or not the store could be told."""
    _ended.add(driver)


def is_dead(driver: str) -> bool:
    """True only where it can be known: it ended in this process, or ran in this boot and pid namespace and is no more."""
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
    """When the process started, in ticks since boot; empty when there is none, or only its zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
