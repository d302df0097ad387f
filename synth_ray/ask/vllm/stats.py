"""Facts and statistics of a vLLM engine: its resolved arguments, the model's size, how busy it has been.

Read from the engine's own objects once per step: vLLM's own statistics are collected per sequence at every step.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from synth_ray.ask.teacher import Load, ModelSize
from synth_ray.recipes.contract import Completion


class EngineStats:
    """Counters of one engine, kept on the thread that steps it."""

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler
        self._steps = self._running_sum = 0
        self._starved_s = self._busy_s = self._cpu_s = self._cpu_began = 0.0
        self._sequences = self._sequence_tokens = 0
        self._preemptions: dict[str, int] = {}
        self._preempted = self._recomputed = 0

    def begin(self) -> None:
        self._cpu_began = time.thread_time()

    def add_idle(self, seconds: float) -> None:
        self._starved_s += seconds

    def add_step(self, seconds: float, ended: Sequence[Sequence[Completion]]) -> None:
        """Count one step and the asks that ended in it: those ran in it, but are no longer in the scheduler's list."""
        self._steps += 1
        self._busy_s += seconds
        self._cpu_s = time.thread_time() - self._cpu_began
        self._running_sum += len(self._scheduler.running) + sum(map(len, ended))
        self._count_preemptions()
        for answers in ended:
            own = len(answers) * ((answers[0].prompt_tokens or 0) - answers[0].cached_tokens)
            self._sequences += len(answers)
            self._sequence_tokens += own + sum(a.completion_tokens or 0 for a in answers)

    def _count_preemptions(self) -> None:
        """A preempted sequence returns to the head of the queue and is computed again from its start."""
        for waiting in self._scheduler.waiting:
            if not waiting.num_preemptions:
                break
            if waiting.num_preemptions > self._preemptions.get(waiting.request_id, 0):
                self._preemptions[waiting.request_id] = waiting.num_preemptions
                self._preempted += 1
                self._recomputed += waiting.num_tokens
        if not self._scheduler.waiting:
            self._preemptions.clear()

    def load(self) -> Load:
        return Load(
            running=len(self._scheduler.running),
            waiting=len(self._scheduler.waiting),
            steps=self._steps,
            running_sum=self._running_sum,
            starved_s=self._starved_s,
            busy_s=self._busy_s,
            cpu_s=self._cpu_s,
            sequences=self._sequences,
            sequence_tokens=self._sequence_tokens,
            preempted=self._preempted,
            recomputed=self._recomputed,
            drafted=getattr(self._scheduler, "drafted", 0),  # of our scheduler: vLLM's counts only with its own statistics
            accepted=getattr(self._scheduler, "accepted", 0),
        )


def resolved_arguments(config: Any) -> dict[str, Any]:
    """The engine's arguments as it resolved them: defaults depend on the device."""
    return {
        "dtype": str(config.model_config.dtype).removeprefix("torch."),
        "max_model_len": int(config.model_config.max_model_len),
        "max_num_seqs": int(config.scheduler_config.max_num_seqs),
        "max_num_batched_tokens": config.scheduler_config.max_num_batched_tokens,
        "enable_prefix_caching": config.cache_config.enable_prefix_caching,
        "kv_cache_dtype": config.cache_config.cache_dtype,
        "kv_cache_tokens": config.cache_config.kv_cache_size_tokens,
        "tensor_parallel_size": config.parallel_config.tensor_parallel_size,
        "pipeline_parallel_size": config.parallel_config.pipeline_parallel_size,
        "quantization": config.model_config.quantization,
        "speculation": getattr(config.speculative_config, "method", None),
    }


def size_of(engine: Any) -> ModelSize | None:
    """None where the roofline's formula does not describe the work of a token: mixtures of experts, ranks that divide them,
    latent attention, packed weights.
    """
    config = engine.vllm_config
    model, parallel = config.model_config, config.parallel_config
    if model.is_moe or parallel.data_parallel_size > 1 or model.use_mla or model.quantization not in (None, "fp8"):
        return None
    counted = engine.apply_model(_weights)
    layers, width = model.get_total_num_hidden_layers(), model.get_head_size()
    kept_as = config.cache_config.cache_dtype
    kept_bytes = model.dtype.itemsize if kept_as == "auto" else 1 if "fp8" in kept_as else 2
    return ModelSize(
        parameters=sum(n for n, _ in counted),
        weight_bytes=sum(size for _, size in counted),
        kv_bytes=2 * layers * model.get_total_num_kv_heads() * width * kept_bytes,
        layers=layers,
        heads=model.get_num_attention_heads(parallel) * parallel.tensor_parallel_size,
        head_dim=width,
    )


def _weights(model: Any) -> tuple[int, int]:
    """Parameters and bytes of one worker's part of the model."""
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters), sum(p.numel() * p.element_size() for p in parameters)
