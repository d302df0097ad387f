"""Engines on one accelerator start one after the other, whichever replicas they belong to.

While it starts, vLLM takes all memory that becomes used on the device for its own (`memory_profiling` in its utils/mem_utils.py),
and asserts that none becomes free (v1/worker/gpu_worker.py): of two that start side by side each would measure the other. The
second also finds what the first has compiled: the share of memory is no part of the compile cache's key (config/cache.py).

An engine's process takes its turn once it has imported vLLM, which needs no accelerator.
"""

from __future__ import annotations

import fcntl
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from synth_ray.ask.engine_start import IMPORTS, TURN

log = logging.getLogger(__name__)

VARIABLE = "SYNTH_RAY_STARTS_ON"
"""A variable of an engine's process that has to wait for its turn: the names of its accelerators, and what the engine is."""

_POLL_S, _TELL_EVERY_S = 0.2, 60.0


def turn_variable(devices: Sequence[str], who: str) -> dict[str, str]:
    """The variable for an engine's process."""
    return {VARIABLE: f"{','.join(devices)} {who}"}


@contextmanager
def turn_of(environment: Mapping[str, str], on_phase: Callable[[str], None]) -> Iterator[None]:
    """The turn that a process has to wait for; nothing where its environment names none."""
    devices, _, who = environment.get(VARIABLE, "").partition(" ")
    if not devices:
        yield
        return
    on_phase(TURN)
    with DeviceTurn(devices.split(","), who):
        on_phase(IMPORTS)
        yield


class DeviceTurn:
    """A context in which no other engine starts on these accelerators of this machine.

    It is a lock on a file for each accelerator, by its name, which the kernel releases when the process ends.
    """

    def __init__(self, devices: Sequence[str], who: str, *, folder: Path | None = None) -> None:
        """`who` is told to those who wait. Devices are taken in one order, so that no two wait for each other."""
        place = folder or Path(tempfile.gettempdir())
        self._paths = [place / f"synth-ray-{os.getuid()}-starts-on-{_plain(name)}.lock" for name in sorted(set(devices))]
        self._who = who
        self._held = ExitStack()

    def __enter__(self) -> DeviceTurn:
        with ExitStack() as taking:
            for path in self._paths:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
                taking.callback(os.close, descriptor)  # closing it releases the lock
                self._take(descriptor)
            self._held = taking.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def _take(self, descriptor: int) -> None:
        told_at: float | None = None
        while not _locks(descriptor):
            if told_at is None or time.monotonic() - told_at > _TELL_EVERY_S:
                told_at = time.monotonic()
                holder = os.pread(descriptor, 300, 0).decode(errors="replace") or "an engine"
                log.warning("%s waits to start: %s is starting on the same accelerator", self._who, holder)
            time.sleep(_POLL_S)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{self._who} (process {os.getpid()})".encode(), 0)


def _locks(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)
