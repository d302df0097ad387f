"""Engines on one accelerator start one after the other, whichever replicas they belong to.

While it starts, vLLM takes all memory that becomes used on the device for its own (`memory_profiling` in its utils/mem_utils.py),
and asserts that none becomes free (v1/worker/gpu_worker.py): of two that start side by side each would measure the other. The
second also finds what the first has compiled: the share of memory is no part of the compile cache's key (config/cache.py).
"""

from __future__ import annotations

import fcntl
import logging
import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

log = logging.getLogger(__name__)

_POLL_S, _TELL_EVERY_S = 0.2, 60.0


class DeviceTurn:
    """A context in which no other engine starts on these accelerators of this machine.

    It is a lock on a file for each accelerator, by its name, which the kernel releases when every process that holds it has
    ended: give `descriptors` to the engine's process, so that the turn lasts as long as an engine whose owner died goes on.
    """

    def __init__(self, devices: Sequence[str], who: str, *, folder: Path | None = None) -> None:
        """`who` is told to those who wait. Devices are taken in one order, so that no two wait for each other."""
        place = folder or Path(tempfile.gettempdir())
        self._paths = [place / f"synth-ray-{os.getuid()}-starts-on-{_plain(name)}.lock" for name in sorted(set(devices))]
        self._who = who
        self._held = ExitStack()
        self.descriptors: list[int] = []

    def __enter__(self) -> DeviceTurn:
        with ExitStack() as taking:
            for path in self._paths:
                taking.callback(self._release, self._take(path))
            self._held = taking.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def _take(self, path: Path) -> int:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._wait_for(descriptor)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{self._who} (process {os.getpid()})".encode(), 0)
        except BaseException:
            os.close(descriptor)
            raise
        self.descriptors.append(descriptor)
        return descriptor

    def _wait_for(self, descriptor: int) -> None:
        told_at: float | None = None
        while not _locks(descriptor):
            if told_at is None or time.monotonic() - told_at > _TELL_EVERY_S:
                told_at = time.monotonic()
                holder = os.pread(descriptor, 300, 0).decode(errors="replace") or "an engine"
                log.warning("%s waits to start: %s is starting on the same accelerator", self._who, holder)
            time.sleep(_POLL_S)

    def _release(self, descriptor: int) -> None:
        """Unlocking one descriptor releases those that other processes inherited, too (flock(2))."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)
        self.descriptors.remove(descriptor)


def _locks(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)
