"""The sources of vLLM that `scheduler` was compared with, by digest of each module.

Our scheduler repeats what private code of these modules does. Where the installed source is another, vLLM's own runs: the same
answers, for more processor time. `tests/house/test_internals.py` fails with a plain sentence when an upgrade changes any of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

SCHEDULER: Mapping[str, str] = {
    "vllm.v1.core.kv_cache_coordinator": "efd7193391197c55",
    "vllm.v1.core.kv_cache_manager": "d08315437c6b0704",
    "vllm.v1.core.sched.async_scheduler": "38d296e77e4d612e",
    "vllm.v1.core.sched.output": "2a3454c78ba1e7ff",
    "vllm.v1.core.sched.scheduler": "d9a39870286c424c",
    "vllm.v1.core.sched.utils": "b6583424b6da1500",
    "vllm.v1.core.single_type_kv_cache_manager": "fe38816a388bb5b6",
    "vllm.v1.engine.output_processor": "e78c5af6b0db10c9",
    "vllm.v1.request": "dd7c30bf8b0894dc",
}


def is_known() -> bool:
    """Whether the installed modules have exactly the sources that our scheduler was compared with."""
    return all(digest_of(name) == digest for name, digest in SCHEDULER.items())


def digest_of(module: str) -> str:
    """Empty for a module that is not there."""
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:  # nor is its package
        return ""
    if spec is None or spec.origin is None:
        return ""
    return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()[:16]
