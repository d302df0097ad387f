"""Whether a model can be divided as its engine arguments say: told from its configuration, before anything is loaded."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synth_ray.ask.vllm.build import is_cpu_build
from synth_ray.errors import JobError
from synth_ray.job.engine_args import data_parallel_size
from synth_ray.job.models import Model

log = logging.getLogger(__name__)

_EXPERTS = ("num_experts", "moe_num_experts", "n_routed_experts", "num_local_experts")
"""Keys by which configurations tell how many experts a layer has: those that vLLM reads."""


def refuse_unfit_split(model: Model, *, where: str) -> None:
    """Raise JobError where a local model cannot be divided so. Of any other model the engine tells, when it opens."""
    config = _config(model)
    problems = [*_tensor_problems(model.engine_args, config), *_layer_problems(model.engine_args, config)]
    problems += _expert_problems(model.engine_args, config)
    if problems:
        raise JobError("\n".join(f"{where}.engine_args.{problem}" for problem in problems))
    if model.engine_args.get("enable_expert_parallel") and model.devices > 1 and is_cpu_build():
        log.warning(
            "%s.engine_args.enable_expert_parallel: vLLM is built for CPUs here, where it cannot divide experts; run the job "
            "where GPUs are",
            where,
        )


def _config(model: Model) -> Mapping[str, Any]:
    """The text model's part of its configuration; empty where it is not in a folder here, or is overridden."""
    file = Path(model.model).expanduser() / "config.json"
    if "hf_overrides" in model.engine_args or not file.is_file():
        return {}
    config = json.loads(file.read_text(encoding="utf-8"))
    inner = config.get("text_config")
    return inner if isinstance(inner, dict) else config


def _tensor_problems(engine_args: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    ranks, heads = engine_args.get("tensor_parallel_size") or 1, config.get("num_attention_heads")
    if not isinstance(heads, int) or heads % ranks == 0:
        return []
    fitting = [n for n in range(1, heads + 1) if heads % n == 0]
    near = [max(n for n in fitting if n < ranks), *[n for n in fitting if n > ranks][:1]]
    return [
        f"tensor_parallel_size: wanted a divisor of the model's {heads} attention heads, got {ranks}; say "
        f"{' or '.join(map(str, near))}, or divide layers with pipeline_parallel_size"
    ]


def _layer_problems(engine_args: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    stages, layers = engine_args.get("pipeline_parallel_size") or 1, config.get("num_hidden_layers")
    if not isinstance(layers, int) or stages <= layers:
        return []
    return [f"pipeline_parallel_size: wanted at most one stage for each of the model's {layers} layers, got {stages}; lower it"]


def _expert_problems(engine_args: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    """Experts are divided over all ranks that share them: each tensor-parallel rank of each data-parallel one."""
    if not engine_args.get("enable_expert_parallel") or not config:
        return []
    experts = experts_of(config)
    if not experts:
        instead = "; leave it out" + (
            ", and data_parallel_size starts equal engines" if data_parallel_size(engine_args) > 1 else ""
        )
        return [f"enable_expert_parallel: wanted a mixture of experts, got a model without experts{instead}"]
    ranks = data_parallel_size(engine_args) * (engine_args.get("tensor_parallel_size") or 1)
    if ranks > experts:
        return [
            f"enable_expert_parallel: wanted at most {experts} ranks, one for each expert of a layer, got data_parallel_size × "
            f"tensor_parallel_size of {ranks}; lower one of them"
        ]
    if experts % ranks:
        log.warning(
            "enable_expert_parallel: %d experts on %d ranks: those with one more keep the others waiting at every layer",
            experts,
            ranks,
        )
    return []


def experts_of(config: Mapping[str, Any]) -> int:
    """Experts of a layer; 0 for a dense model."""
    found = next((config[name] for name in _EXPERTS if config.get(name)), 0)
    return int(found[0] if isinstance(found, list) else found)
