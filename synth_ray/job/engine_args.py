"""What contradicts itself in a model's `engine_args`, as far as it can be told without vLLM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RESULT_ENGINE_ARGS = frozenset(
    {
        "dtype",
        "quantization",
        "kv_cache_dtype",
        "speculative_config",
        "enable_lora",
        "rope_scaling",
        "rope_theta",
        "hf_overrides",
        "tokenizer_mode",
    }
)
"""Engine arguments that can change an answer. All others only change speed."""

OWN_KEYS = {"model": "model", "revision": "revision", "tokenizer": "tokenizer", "trust_remote_code": "trust_remote_code"}
"""Arguments of vLLM that are keys of a model, and where they stand."""

PARALLEL_SIZES = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")

_COUNTS = (*PARALLEL_SIZES, "max_num_seqs", "max_num_batched_tokens", "max_model_len")


def devices_of(engine_args: Mapping[str, Any]) -> int:
    """Accelerators that an engine with these arguments uses."""
    devices = 1
    for name in PARALLEL_SIZES:
        devices *= int(engine_args.get(name) or 1)
    return devices


def data_parallel_size(engine_args: Mapping[str, Any]) -> int:
    return int(engine_args.get("data_parallel_size") or 1)


def has_ranks(engine_args: Mapping[str, Any]) -> bool:
    """Whether `data_parallel_size` means ranks of one engine, which divide a mixture's experts and step together. Without
    `enable_expert_parallel` it means equal engines side by side, which know nothing of each other.
    """
    return data_parallel_size(engine_args) > 1 and bool(engine_args.get("enable_expert_parallel"))


def refuse_contradictions(engine_args: Mapping[str, Any], *, has_adapter: bool) -> None:
    """Raise ValueError for arguments that no version of vLLM can follow, or that are keys of the model itself."""
    for name, own in OWN_KEYS.items():
        if name in engine_args:
            raise ValueError(f"wanted `{own}` as a key of the model, got it among engine_args; move it one level up")
    for name in _COUNTS:
        _refuse_no_count(name, engine_args.get(name))
    share = engine_args.get("gpu_memory_utilization", 0.9)
    if not isinstance(share, (int, float)) or isinstance(share, bool) or not 0 < share <= 1:
        raise ValueError(f"wanted a share above 0 and up to 1 as engine_args.gpu_memory_utilization, got {share!r}")
    _refuse_small_batches(engine_args)
    _refuse_shared_ranks(engine_args)
    if has_adapter and engine_args.get("enable_lora") is False:
        raise ValueError("wanted engine_args.enable_lora left out beside `lora`, got false; remove one of the two")
    if devices_of(engine_args) > 1 and engine_args.get("distributed_executor_backend") == "uni":
        raise ValueError(
            f"wanted an executor for {devices_of(engine_args)} accelerators, got engine_args.distributed_executor_backend: uni; "
            "leave it out, or say mp or ray"
        )


def _refuse_no_count(name: str, value: Any) -> None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= (-1 if name == "max_model_len" else 1)
    if value is not None and not is_count:
        raise ValueError(f"wanted a whole number from 1 as engine_args.{name}, got {value!r}")


def _refuse_small_batches(engine_args: Mapping[str, Any]) -> None:
    batched, longest = engine_args.get("max_num_batched_tokens"), engine_args.get("max_model_len") or 0
    running = engine_args.get("max_num_seqs") or 0
    if batched is None:
        return
    if batched < running:
        raise ValueError(
            f"wanted engine_args.max_num_batched_tokens of at least max_num_seqs ({running}), got {batched}; raise it, or lower "
            "max_num_seqs"
        )
    if batched < longest and engine_args.get("enable_chunked_prefill") is False:
        raise ValueError(
            f"wanted engine_args.max_num_batched_tokens of at least max_model_len ({longest}) without chunked prefill, got "
            f"{batched}; raise it, lower max_model_len, or leave enable_chunked_prefill out"
        )


def _refuse_shared_ranks(engine_args: Mapping[str, Any]) -> None:
    """All data parallelism of one replica is on one machine: its ranks, or its engines, are this program's to start."""
    if data_parallel_size(engine_args) == 1:
        return
    others = [name for name in engine_args if name.startswith("data_parallel_") and name != "data_parallel_size"]
    if others:
        raise ValueError(
            f"wanted engine_args.data_parallel_size without {others[0]}, got both: a replica starts all of its engines, or "
            "ranks, itself, on one machine; leave one of the two out, or set cluster.teachers"
        )
    if engine_args.get("distributed_executor_backend") == "ray":
        kind = "ranks that divide experts" if has_ranks(engine_args) else "independent engines"
        raise ValueError(
            f"wanted engine_args.data_parallel_size without distributed_executor_backend: ray, got both: its {kind} are on one "
            "machine; to span nodes leave data_parallel_size out and raise tensor_parallel_size or pipeline_parallel_size"
        )
