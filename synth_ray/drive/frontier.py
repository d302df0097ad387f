"""The admission frontier: committed chunks are admitted in order, as far as they reach without a gap."""

from __future__ import annotations

import time
from collections.abc import Callable

from synth_ray.drive.window import Window
from synth_ray.meter.tally import Tally


class Frontier:
    """Hands the next committed chunks to `admit`, each once, and counts them; no more of them while `is_full`."""

    def __init__(
        self, window: Window, tally: Tally, admit: Callable[[int], None], *, is_full: Callable[[], bool] = lambda: False
    ) -> None:
        self._window, self._tally, self._admit, self._is_full = window, tally, admit, is_full

    @property
    def is_behind(self) -> bool:
        """Whether the next chunk is committed and not admitted."""
        return self._window.next_admittable() is not None

    def admit_next(self) -> None:
        chunk = self._window.frontier
        self._admit(chunk)
        self._window.mark_admitted(chunk)
        self._tally.chunks_admitted += 1

    def admit(self, *, for_s: float) -> None:
        """Admit what is next, chunk after chunk, until `for_s` seconds have gone: replicas wait meanwhile."""
        end = time.monotonic() + for_s
        while self.is_behind and time.monotonic() < end and not self._is_full():
            self.admit_next()
