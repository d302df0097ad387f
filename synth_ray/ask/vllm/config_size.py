"""How large a model is, told from its configuration before anything is loaded; an engine counts it itself once it is up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synth_ray.ask.teacher import ModelSize
from synth_ray.ask.vllm.fit import experts_of
from synth_ray.job.models import Model

_NEEDED = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")


def config_of(model: Model) -> Mapping[str, Any]:
    """Its configuration, from its folder or from what was downloaded before; empty where neither has it. Asks no server."""
    file = Path(model.model).expanduser() / "config.json"
    if not file.is_file():
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

        try:
            cached = try_to_load_from_cache(model.model, "config.json", revision=model.revision or None)
        except HFValidationError:  # the name of a folder that is not here
            return {}
        if not isinstance(cached, str):
            return {}
        file = Path(cached)
    config = json.loads(file.read_text(encoding="utf-8"))
    inner = config.get("text_config")
    return inner if isinstance(inner, dict) else config


def size_told(model: Model) -> ModelSize | None:
    """The size of a dense transformer with gated layers, within a few percent: without biases and norms. None for any other, as a
    mixture of experts, latent attention or packed weights, and where the configuration is not here or is overridden.
    """
    config = {} if "hf_overrides" in model.engine_args else config_of(model)
    quantization = model.engine_args.get("quantization") or (config.get("quantization_config") or {}).get("quant_method")
    sizes = [config.get(name) for name in _NEEDED]
    if not all(isinstance(size, int) for size in sizes) or experts_of(config) or config.get("kv_lora_rank"):
        return None
    if quantization not in (None, "fp8"):
        return None
    hidden, inner, layers, heads, vocabulary = map(int, sizes)  # type: ignore[arg-type]
    kv_heads, head_dim = int(config.get("num_key_value_heads") or heads), int(config.get("head_dim") or hidden // heads)
    block = 2 * hidden * (heads + kv_heads) * head_dim + 3 * hidden * inner
    embedding = vocabulary * hidden
    dtype = str(model.engine_args.get("dtype") or config.get("dtype") or config.get("torch_dtype"))
    wide = 4 if dtype.endswith("float32") else 2
    kept = 1 if "fp8" in str(model.engine_args.get("kv_cache_dtype") or "") else wide
    both = embedding if config.get("tie_word_embeddings") else 2 * embedding
    return ModelSize(
        parameters=layers * block + both,
        weight_bytes=layers * block * (1 if quantization else wide) + both * wide,
        kv_bytes=2 * layers * kv_heads * head_dim * kept,
        layers=layers,
        heads=heads,
        head_dim=head_dim,
    )
