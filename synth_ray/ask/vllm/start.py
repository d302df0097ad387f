"""Preparations for vLLM's start: adapter ranks, and a module it must not see."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from synth_ray.errors import MissingResource

_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # the ranks vLLM has kernels for


def lora_rank(adapter: str) -> int:
    """The LoRA rank to start an engine with for this adapter. Raises MissingResource for a folder that holds no adapter."""
    try:
        rank = int(json.loads((Path(adapter) / "adapter_config.json").read_text())["r"])
    except (OSError, ValueError, KeyError, TypeError):
        raise MissingResource(
            f"models.lora: wanted a folder with a PEFT adapter_config.json, got '{adapter}', which has none"
        ) from None
    return next((known for known in _RANKS if known >= rank), rank)


@contextmanager
def hidden_module(module: str) -> Iterator[None]:
    """Hide a loaded module while vLLM starts.

    On the CPU vLLM looks through every loaded module for kernels to replace (vllm/triton_utils/dispatcher.py) and fails at
    llvmlite's foreign-function object, whose `__dict__` is a function. numba may have been loaded before.
    """
    hidden = sys.modules.pop(module, None)
    try:
        yield
    finally:
        if hidden is not None:
            sys.modules[module] = hidden
