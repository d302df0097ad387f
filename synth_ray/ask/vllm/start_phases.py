"""What an engine that starts is doing, read from vLLM's log records: nothing else tells.

A record that is not known says nothing, so with another vLLM a phase may be missing, never wrong. An engine whose workers are
processes of their own logs there: its start has fewer phases.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from synth_ray.ask.engine_start import COMPILE, WARM_UP, WEIGHTS

_BEGINS: Mapping[str, str] = {
    "Starting to load model": WEIGHTS,
    "Loading model from scratch": WEIGHTS,
    "Model loading took": WARM_UP,  # it runs once to see what memory that takes
    "Starting torch.compile": COMPILE,
    "for vLLM's torch.compile": COMPILE,
    "Warming up model for the compilation": COMPILE,  # on the CPU
    "saved AOT compiled function": WARM_UP,
    "torch.compile took": WARM_UP,
    "torch.compile and initial profiling/warmup run together took": WARM_UP,
    "Directly load AOT compilation": WARM_UP,
    "KV cache size": WARM_UP,
    "Profiling CUDA graph memory": WARM_UP,
}
"""Parts of messages, and the phase that begins with them."""


def phase_of(message: str) -> str:
    """The phase that begins with this message; empty for any other."""
    return next((phase for part, phase in _BEGINS.items() if part in message), "")


class _Listener(logging.Handler):
    def __init__(self, on_phase: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._on_phase = on_phase

    def emit(self, record: logging.LogRecord) -> None:
        if phase := phase_of(record.getMessage()):
            self._on_phase(phase)


@contextmanager
def told_phases(on_phase: Callable[[str], None]) -> Iterator[None]:
    """Tell phases while vLLM starts. What it prints stays as it is configured; where it hands its records to the program's own
    logging, which may print all of them, no phase is told.
    """
    logger = logging.getLogger("vllm")
    if logger.propagate:
        yield
        return
    level, handlers = logger.level, [(handler, handler.level) for handler in logger.handlers]
    listener = _Listener(on_phase)
    for handler, own in handlers:
        handler.setLevel(max(own, level))
    logger.addHandler(listener)
    logger.setLevel(min(level, logging.INFO) or logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(listener)
        for handler, own in handlers:
            handler.setLevel(own)
