"""Progress while a job runs: a live panel in a terminal, else a line every ten seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from synth_ray.meter.tally import Tally

_HEARTBEAT_S = 10.0
_PANEL_S = 0.5


class Progress:
    """A context whose `show` takes each tally; it draws a panel every 0.5 s or a line every 10 s at most."""

    def __init__(self, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = Console(stderr=True)
        self._quiet = quiet
        self._clock = clock
        self._start = self._next_update_at = clock()
        self._live: Live | None = None

    def __enter__(self) -> Progress:
        if not self._quiet and self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    def show(self, tally: Tally) -> None:
        now = self._clock()
        if self._quiet or now < self._next_update_at:
            return
        if self._live is not None:
            self._next_update_at = now + _PANEL_S
            self._live.update(_panel(tally, now - self._start), refresh=True)
        else:
            self._next_update_at = now + _HEARTBEAT_S
            print(heartbeat(tally, now - self._start), file=sys.stderr, flush=True)


def heartbeat(tally: Tally, seconds: float) -> str:
    """One line: rows by outcome, and the rates."""
    if not tally.replicas and not tally.requests_done:
        return f"{seconds:6.0f} s  teachers are starting"
    rate = tally.requests_done / seconds if seconds > 0 else 0.0
    tokens = tally.tokens["completion"] / seconds if seconds > 0 else 0.0
    return (
        f"{seconds:6.0f} s  requests {tally.requests_done} ({rate:.0f}/s)  in flight {tally.in_flight}  "
        f"tokens {tokens:.0f}/s  accepted {tally.accepted}  rejected {tally.rejected.total()}  "
        f"failed {tally.failed.total()}  chunks {tally.chunks_admitted}/{tally.chunks_planned}  teachers {tally.replicas}"
    )


def _panel(tally: Tally, seconds: float) -> Table:
    table = Table(title=f"synth-ray · {seconds:.0f} s", show_header=False, title_justify="left")
    rate = tally.requests_done / seconds if seconds > 0 else 0.0
    tokens = tally.tokens["completion"] / seconds if seconds > 0 else 0.0
    reasons = ", ".join(f"{reason} {n}" for reason, n in (tally.rejected + tally.failed).most_common(6))
    table.add_row("requests", f"{tally.requests_done} done, {tally.in_flight} in flight, {rate:.1f}/s")
    table.add_row("tokens", f"{tally.tokens['prompt']} in, {tally.tokens['completion']} out, {tokens:.0f}/s")
    table.add_row("rows", f"{tally.accepted} accepted, {tally.rejected.total()} rejected, {tally.failed.total()} failed")
    table.add_row("reasons", reasons or "-")
    table.add_row("chunks", f"{tally.chunks_admitted} admitted of {tally.chunks_planned} planned")
    table.add_row("teachers", f"{tally.replicas} up, {tally.replicas_lost} lost")
    return table
