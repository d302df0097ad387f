"""What this package uses of vLLM's engine that vLLM does not promise to keep: its v1 engine, scheduler and detokenizer.

vLLM is imported here, in `scheduler`, which is given to it in place of its own, and in `engine`, which uses its public API alone.
`tests/house/test_internals.py` fails with a plain sentence when an upgrade moves any of it.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from synth_ray.ask.engine_start import PLAIN_START, EngineStart
from synth_ray.ask.vllm.compile_cache import CompileCache
from synth_ray.ask.vllm.known_sources import is_known
from synth_ray.ask.vllm.start_phases import told_phases


def start_engine(engine_args: Any, start: EngineStart = PLAIN_START) -> Any:
    """An in-process engine, stepped by its caller. Raises what vLLM raises."""
    import vllm.logger
    from vllm.usage.usage_lib import UsageContext
    from vllm.v1.engine.llm_engine import LLMEngine

    usage = UsageContext.LLM_CLASS
    config = engine_args.create_engine_config(usage)
    _choose_scheduler(config.scheduler_config)
    if hasattr(vllm.logger, "configure_logging_if_needed"):  # else it would take the listener away while it starts
        vllm.logger.configure_logging_if_needed(config.logging_config)
    cache = _compile_cache(config, start.compile_cache)
    with told_phases(start.on_phase):
        if cache is not None:
            cache.fetch()
        engine = LLMEngine.from_vllm_config(config, usage_context=usage, disable_log_stats=engine_args.disable_log_stats)
    if cache is not None:
        cache.put()
    return engine


def _compile_cache(config: Any, place: str) -> CompileCache | None:
    """None where none is wanted or nothing is compiled. The factors are those of vLLM's own key of what it compiled before."""
    if not place or not config.compilation_config.mode:
        return None
    import torch
    import vllm.envs
    from vllm.compilation.caching import aot_compile_hash_factors
    from vllm.platforms import current_platform

    device = _processor() if current_platform.is_cpu() else current_platform.get_device_name()
    factors = [*aot_compile_hash_factors(config), torch.__version__, platform.python_version(), device]
    return CompileCache(place, factors, Path(vllm.envs.VLLM_CACHE_ROOT) / "torch_compile_cache")


def _processor() -> str:
    """What the code that is compiled for a processor may use of it."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.is_file() else []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{platform.machine()} {flags}"


def _choose_scheduler(config: Any) -> None:
    """Ours, unless one is named, or the installed vLLM is not the one that ours was compared with."""
    if config.scheduler_cls is None and is_known():
        ours = "AsyncWholeAnswerScheduler" if config.async_scheduling else "WholeAnswerScheduler"
        config.scheduler_cls = f"synth_ray.ask.vllm.scheduler.{ours}"


async def start_ranks(engine_args: Any) -> Any:
    """The asynchronous engine: each data-parallel rank in a process of its own. To be run on the event loop that will ask it."""
    from vllm.usage.usage_lib import UsageContext
    from vllm.v1.engine.async_llm import AsyncLLM

    config = engine_args.create_engine_config(UsageContext.LLM_CLASS)
    return AsyncLLM.from_vllm_config(config, usage_context=UsageContext.LLM_CLASS, disable_log_stats=True)


def add_request(
    engine: Any, name: str, prompt: Any, params: Any, *, lora_request: Any = None, reasoning_ended: bool | None = None
) -> None:
    """Add a request to an in-process engine, as its own `add_request` does. `reasoning_ended` says whether a guided answer begins
    at once or behind a thought, as vLLM's server says it; None leaves it to the engine, which takes any closed thought in the
    prompt for an answer's own.
    """
    if reasoning_ended is None:
        engine.add_request(name, prompt, params, lora_request=lora_request)
        return
    tasks = engine.get_supported_tasks()
    request = engine.input_processor.process_inputs(name, prompt, params, supported_tasks=tasks, lora_request=lora_request)
    request.reasoning_ended = reasoning_ended
    engine.add_request(name, request, params)


def scheduler_of(engine: Any) -> Any:
    """The scheduler of an engine that is stepped: its `running` and `waiting` requests, each with `num_preemptions`, `num_tokens`
    and `request_id`.
    """
    return engine.scheduler if hasattr(engine, "scheduler") else engine.engine_core.engine_core.scheduler


def import_detokenizer() -> None:
    """Takes a while: call it while the engine starts."""
    import vllm.v1.engine.detokenizer  # noqa: F401


def text_of(tokenizer: Any, tokens: list[int], *, prompt: list[int], sampling_params: Any, stopped: bool) -> str:
    """The text of generated tokens, as the engine would report it. `stopped`: the answer ended by itself, not by its length."""
    from vllm.v1.engine.detokenizer import IncrementalDetokenizer

    request: Any = SimpleNamespace(request_id="", sampling_params=sampling_params, prompt_token_ids=prompt, prompt_embeds=None)
    detokenizer = IncrementalDetokenizer.from_new_request(tokenizer, request)
    detokenizer.update(tokens, stopped)
    return str(detokenizer.get_next_output_text(True, False))


def pooler_arguments(pooling: str | None) -> dict[str, Any]:
    """Engine arguments that say which token states make an embedding; none for the model's own way."""
    if pooling is None:
        return {}
    from vllm.config import PoolerConfig

    return {"pooler_config": PoolerConfig(pooling_type=pooling.upper())}


def pooling_params(task: str, *, use_activation: bool, dimensions: int | None) -> Any:
    """Parameters of one text. The activation makes probabilities of a classifier's outputs and a unit vector of an embedding."""
    from vllm import PoolingParams

    return PoolingParams(task=task, use_activation=use_activation, dimensions=dimensions)


def sentence_transformers_pooling(model: str, revision: str | None) -> Any:
    """What the model's folder says of making an embedding; None if nothing."""
    from vllm.transformers_utils.config import get_pooling_config

    return get_pooling_config(model, revision)


def tool_parsers() -> list[str]:
    """The names of the parsers of tool calls."""
    from vllm.tool_parsers import ToolParserManager

    return list(ToolParserManager.list_registered())


def parse_calls(name: str, tokenizer: Any, tools: Sequence[Mapping[str, Any]], text: str) -> tuple[str, list[tuple[str, str]]]:
    """(the text without the calls, the name and the arguments as JSON text of each), as vLLM's server takes an answer apart."""
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.tool_parsers import ToolParserManager

    request = ChatCompletionRequest(messages=[], tools=[dict(tool) for tool in tools] or None)
    parser = ToolParserManager.get_tool_parser(name)(tokenizer, request.tools)
    found = parser.extract_tool_calls(text, request)
    return found.content or "", [(call.function.name, call.function.arguments) for call in found.tool_calls]
