"""Engine main loop: receive commands, step, send finished completions.

Received: lists of requests (number, request), cancellations (number, None) and, at the end, None. Sent: updates with the engine's
load, the number of completions requested so far, and the asks finished since the last update; an error of a step is the last
message. When the connection breaks, the loop ends.

As a process (`python -m synth_ray.ask.vllm.loop DESCRIPTOR`) it runs nothing else: a second thread would take the interpreter
from the steps (docs/decisions/0016).
"""

from __future__ import annotations

import logging
import select
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from multiprocessing.connection import Connection
from typing import Any

from synth_ray import gc_tuning
from synth_ray.ask.engine_start import EngineStart
from synth_ray.ask.vllm.engine import EngineRequest, VllmEngine
from synth_ray.errors import AskFailed, EngineDied, SynthRayError
from synth_ray.job.models import Model

log = logging.getLogger(__name__)

STATS_INTERVAL_S = 0.25
"""Longest time between two load reports while the engine is busy, in seconds."""

Command = tuple[int, EngineRequest | None] | None


class EngineLoop:
    """One engine at one end of a connection."""

    def __init__(self, connection: Connection, engine: VllmEngine) -> None:
        self._connection, self._engine = connection, engine
        self._arrivals = select.poll()
        self._arrivals.register(connection.fileno(), select.POLLIN)
        self._refused: list[tuple[int, AskFailed]] = []
        self._received_count, self._last_update_at = 0, 0.0

    def run(self) -> None:
        self._engine.begin()
        try:
            while self._receive():
                self._step()
        except (EOFError, ConnectionError):
            log.info("the asking process is gone")
        except Exception as error:
            # A failed step leaves the engine unusable: send the error, so that every pending ask fails.
            log.error("vllm engine died: %s", type(error).__name__)
            self._connection.send(EngineDied(f"vllm engine died in a step: {type(error).__name__}: {str(error)[:300]}"))

    def _receive(self) -> bool:
        """Receive commands, waiting only when there is nothing to step. Returns False to stop."""
        while True:
            idle = not self._engine.is_busy
            if idle:
                self._send_update([])
            began = time.monotonic()
            if not self._arrivals.poll(None if idle else 0):
                return True
            if idle:
                self._engine.add_idle(time.monotonic() - began)
            if not self._handle(self._connection.recv()):
                return False

    def _handle(self, items: Iterable[Command]) -> bool:
        for item in items:
            if item is None:
                return False
            number, ask = item
            if ask is None:
                self._engine.abort_request(number)
                continue
            self._received_count += ask.n
            try:
                self._engine.add_request(number, ask)
            except AskFailed as refused:
                self._refused.append((number, refused))
        return True

    def _step(self) -> None:
        ended = self._engine.step()
        if ended or time.monotonic() - self._last_update_at > STATS_INTERVAL_S:
            self._send_update(ended)

    def _send_update(self, ended: list[tuple[int, Any]]) -> None:
        self._last_update_at = time.monotonic()
        refused, self._refused = self._refused, []
        self._connection.send((self._engine.load(), self._received_count, [*refused, *ended]))


def start_engine(model: Model, adapters: Sequence[str], start: EngineStart) -> VllmEngine:
    """The engine of the model's task; may take minutes."""
    if model.task == "generate":
        return VllmEngine(model, adapters, start)
    from synth_ray.ask.vllm.pooling import PoolingEngine

    return PoolingEngine(model, adapters, start)


def _serve(connection: Connection) -> None:
    """The process's main function: receives a model; sends the names of the start's phases, then the engine's facts and tokenizer
    arguments, or the error.
    """
    model, adapters, compile_cache = connection.recv()
    try:
        engine = start_engine(model, adapters, EngineStart(compile_cache=compile_cache, on_phase=connection.send))
    except SynthRayError as error:
        connection.send(error)
        return
    gc_tuning.freeze_startup_objects()
    connection.send((engine.facts(), engine.tokenizer_args()))
    EngineLoop(connection, engine).run()


if __name__ == "__main__":
    # Ctrl-C and a scheduler's notice reach every process of the group, but the run decides when the engine stops. An empty
    # handler rather than SIG_IGN: the engine's own workers would inherit SIG_IGN.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    _serve(Connection(int(sys.argv[1])))
