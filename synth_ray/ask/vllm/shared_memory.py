"""What engines that share an accelerator, or a slot of a CPU, take of its memory: said in their arguments before they start."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

from synth_ray.ask.vllm.build import is_cpu_build
from synth_ray.job.device_memory import KV_BYTES, UTILIZATION, utilizations
from synth_ray.job.models import Model

log = logging.getLogger(__name__)

CPU_SPACE = "VLLM_CPU_KVCACHE_SPACE"
"""GiB of KV cache on the CPU, a whole number. vLLM takes it before the argument `kv_cache_memory_bytes` (platforms/cpu.py)."""

CPU_SPACE_DEFAULT = "1"
"""By default vLLM asks for 92 % of the machine's memory."""


def with_shares(models: Sequence[Model], fraction: float) -> list[Model]:
    """The engines of one replica with the memory that each may take, where they share. `fraction`: the replica's part of the
    accelerator or slot. Other models are left as they are, and so is what the job says of an engine.

    `gpu_memory_utilization` is also set beside a given `kv_cache_memory_bytes`: it then has no say in the cache's size, but vLLM
    refuses to start where less than that share of the device is free (`request_memory` in its v1/worker/utils.py).
    """
    places = [place for place, model in enumerate(models) if model.engine == "vllm"]
    shared, own = list(models), is_cpu_build()
    if fraction >= 1 and (own or len(places) < 2):
        return shared
    shares = utilizations([models[place].engine_args for place in places], fraction)
    for place, share in zip(places, shares, strict=True):
        model = models[place]
        told = {KV_BYTES: _cpu_bytes(fraction / len(places))} if own else {UTILIZATION: share}
        said = {name: value for name, value in model.engine_args.items() if value is not None or name not in told}
        shared[place] = model.model_copy(update={"engine_args": told | said})
        has = ", ".join(f"{name} {shared[place].engine_args[name]:,}" for name in told)
        log.info("%s shares an accelerator with other engines: %s", model.name, has)
    return shared


def _cpu_bytes(share: float) -> int:
    return int(float(os.environ.get(CPU_SPACE) or CPU_SPACE_DEFAULT) * share * 2**30)


def let_argument_decide(model: Model) -> None:
    """Call in the engine's own process, before vLLM reads its environment: on the CPU the job's bytes count, not the variable."""
    if model.engine_args.get(KV_BYTES) is not None:
        os.environ.pop(CPU_SPACE, None)
