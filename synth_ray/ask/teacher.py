"""The seam to whatever answers: one asynchronous call per prompt, no batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from synth_ray.recipes.contract import Completion, Constraint, Recipe
from synth_ray.records import Message

PromptKind = Literal["chat", "score", "rate", "embed", "instruct"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """One ask. `key` is a digest of the request and everything asked; repeats of an ask have keys of their own. It seeds what
    must be repeatable. `adapter` is a LoRA folder. `tools` are for the chat template. `role` is who asks, where roles that think
    differently share an engine.

    `kind`: `chat` answers the messages; `score` gives the log-probabilities of `given`, an answer to them; `rate` gives a reward
    model's or a classifier's scores of `given`; `embed` gives the vector of the one message's text; `instruct` writes the user's
    next message.
    """

    messages: list[Message]
    key: str
    n: int = 1
    constraint: Constraint | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    adapter: str = ""
    kind: PromptKind = "chat"
    given: str = ""
    tools: Sequence[Mapping[str, Any]] = ()
    role: str = ""


@dataclass(frozen=True, slots=True)
class TemplateUse:
    """How a job uses its teachers' chat templates: whether it sends a system message, cuts the model's thoughts out, has the
    model write a user's turn, and shows tools.
    """

    system: bool = False
    cuts_thoughts: bool = False
    instructs: bool = False
    tools: bool = False

    @classmethod
    def of(cls, recipe: Recipe, options: Any) -> TemplateUse:
        """From the job's recipe and its options."""
        sends_system = any(getattr(options, name, "") for name in ("system", "topic"))
        native = getattr(options, "call", "") == "native" and bool(getattr(options, "tools", ()))
        return cls(sends_system, bool(getattr(options, "reasoning", None)), recipe.instructs, native)


PLAIN_USE = TemplateUse()


@dataclass(frozen=True, slots=True)
class ModelSize:
    """What the roofline needs to know of a model, as counted by the engine. Bytes are as loaded."""

    parameters: int
    weight_bytes: int
    kv_bytes: int  # per token, all layers
    layers: int
    heads: int
    head_dim: int


@dataclass(frozen=True, slots=True)
class TeacherFacts:
    """Facts of an opened teacher: enough to size the work in flight and to fill the manifest.

    `kv_tokens` is the size of its KV cache in tokens, 0 if unknown. `device` is the accelerator's name as its driver reports it,
    `devices` how many of them the teacher spans. `size` is None where the roofline's formula does not apply.
    `start_phases` are the seconds of what the start consisted of, as far as it was told (`engine_start`).
    `notes` are for the person who runs the job: what was found that may not be meant. `tokenizer` is the identity of the
    tokenizer whose ids the answers may have (`job.tokenizer`), empty where it is not known. `labels` are a classifier's own.
    """

    engine: str
    model: str
    revision: str
    max_running: int
    max_model_len: int
    engine_args: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    start_s: float = 0.0
    start_phases: Mapping[str, float] = field(default_factory=dict)
    kv_tokens: int = 0
    device: str = ""
    devices: int = 1
    size: ModelSize | None = None
    notes: Sequence[str] = ()
    tokenizer: Mapping[str, Any] = field(default_factory=dict)
    labels: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Load:
    """How busy a teacher has been since it opened: sums over engine steps, so that means can be taken over any span.

    `running` and `waiting` count sequences as the engine's own scheduler does; `running_sum` adds up `running` over the steps.
    `sequences` have ended with `sequence_tokens` in the KV cache (prompt and completion, cached prefixes counted once). Seconds:
    `starved_s` with nothing to step, `busy_s` with something, `cpu_s` the stepping thread's processor time. `recomputed` tokens
    were computed again after `preempted` preemptions; of tokens `drafted` by speculation, the model `accepted` so many. `notes`
    tell what the teacher does otherwise than the job says.
    """

    running: int = 0
    waiting: int = 0
    steps: int = 0
    running_sum: int = 0
    starved_s: float = 0.0
    busy_s: float = 0.0
    cpu_s: float = 0.0
    sequences: int = 0
    sequence_tokens: int = 0
    preempted: int = 0
    recomputed: int = 0
    drafted: int = 0
    accepted: int = 0
    notes: tuple[str, ...] = ()


class Teacher(Protocol):
    """Something that answers. `open` may take minutes and is called once, in the process where the engine runs.

    `answer` returns `prompt.n` completions in a stable order. It raises AskFailed when only this prompt is at fault, and
    EngineDied when the engine is gone: then no later call will be answered either. It raises ServiceRefused when the service
    refuses every prompt, so that another engine would change nothing. Cancelling an `answer` frees what it occupied in
    the engine.
    """

    def open(self) -> TeacherFacts: ...

    async def answer(self, prompt: Prompt) -> list[Completion]: ...

    def load(self) -> Load: ...

    def close(self) -> None: ...
