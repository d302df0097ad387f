"""How an engine starts: what it may see, where compiled graphs are kept for the next, and who hears what it is doing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from synth_ray.ask.vllm.build import is_cpu_build
from synth_ray.job.device_memory import device_fraction
from synth_ray.job.document import Job

PHASES = TURN, IMPORTS, WEIGHTS, COMPILE, WARM_UP = "turn", "imports", "weights", "compile", "warm-up"
"""Phases of a start, in their order. The first is only where engines share an accelerator and start one after the other; a start
that tells nothing more stays in the imports.
"""


def _ignored(_phase: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class EngineStart:
    """`devices`: the accelerators it may see, all by default. `fraction`: its replica's part of them, where other replicas have
    the rest; engines there start one after the other. `compile_cache`: a folder or a store's prefix, see
    `vllm.compile_cache`. `on_phase` is called on the thread that starts the engine, with each phase that begins.
    """

    devices: str = ""
    fraction: float = 1.0
    compile_cache: str = ""
    on_phase: Callable[[str], None] = _ignored


PLAIN_START = EngineStart()


def start_of(job: Job, role: str = "teacher", *, on_phase: Callable[[str], None] = _ignored) -> EngineStart:
    """How the engines start that a replica of a role's pool has in this job, on this machine."""
    fraction = device_fraction(job, role, on_cpu=is_cpu_build())
    return EngineStart(fraction=fraction, compile_cache=job.cluster.compile_cache, on_phase=on_phase)


class PhaseClock:
    """Seconds of each phase. One that comes again adds to itself."""

    def __init__(self, on_phase: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._on_phase, self._clock = on_phase, clock
        self._phase, self._since = "", clock()
        self._seconds: dict[str, float] = {}

    def enter(self, phase: str) -> None:
        if phase != self._phase:
            self._count()
            self._phase = phase
            self._on_phase(phase)

    def _count(self) -> None:
        now = self._clock()
        if self._phase:
            self._seconds[self._phase] = self._seconds.get(self._phase, 0.0) + now - self._since
        self._since = now

    def seconds(self) -> dict[str, float]:
        """Of the phases so far, the present one up to now."""
        self._count()
        return dict(self._seconds)
