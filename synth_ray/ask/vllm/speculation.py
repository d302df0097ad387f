"""What may not be asked of an engine that speculates.

vLLM refuses `min_p` and `logit_bias` beside speculation, request by request. Its CPU build draws the tokens that it verifies at a
temperature of uninitialised memory (github.com/vllm-project/vllm/issues/55005): only greedy answers are the model's own there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synth_ray.ask.vllm.build import is_cpu_build
from synth_ray.errors import AskFailed, JobError
from synth_ray.job.models import Model
from synth_ray.job.sampling import Sampling
from synth_ray.records import Reason


def refuse_unfit_sampling(model: Model, sampling: Sampling, *, where: str, on_cpu: bool) -> None:
    """Raise JobError for a job whose every ask the engine would refuse. `on_cpu`: the engine is vLLM's CPU build."""
    if not model.engine_args.get("speculative_config"):
        return
    beside = f"beside {where}.engine_args.speculative_config"
    if sampling.min_p:
        raise JobError(
            f"sampling.min_p: wanted 0 {beside}, got {sampling.min_p:g}, which vLLM refuses there; leave one of them out"
        )
    if on_cpu and sampling.temperature:
        raise JobError(
            f"sampling.temperature: wanted 0 {beside} on vLLM's CPU build, got {sampling.temperature:g}: it draws speculated "
            "tokens at any temperature (vLLM's issue 55005); say 0, or leave speculative_config out"
        )


def refuse_drawn_drafts(model: Model, sampling: Mapping[str, Any]) -> None:
    """Raise AskFailed for an ask whose answer vLLM's CPU build would draw wrongly: a recipe may have a temperature of its own."""
    if not model.engine_args.get("speculative_config") or sampling.get("max_tokens") == 1:  # of one token nothing is drafted
        return
    if sampling.get("temperature", 1.0) and is_cpu_build():
        raise AskFailed(
            Reason.ENGINE_ERROR, "vLLM's CPU build speculates at temperature 0 only; set it, or speculative_config: null"
        )
