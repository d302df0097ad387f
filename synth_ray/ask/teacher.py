"""The seam to whatever answers: one asynchronous call per prompt, no batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from synth_ray.recipes.contract import Completion, Constraint
from synth_ray.records import Message


@dataclass(frozen=True, slots=True)
class Prompt:
    """One ask. `key` is a digest of the request and the ask's number: it seeds what must repeat. `adapter` is a LoRA folder."""

    messages: list[Message]
    key: str
    n: int = 1
    constraint: Constraint | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    adapter: str = ""


@dataclass(frozen=True, slots=True)
class ModelSize:
    """What the roofline needs of a model, counted by the engine itself. Bytes are as loaded; of one token where said."""

    parameters: int
    weight_bytes: int
    kv_bytes: int  # per token, all layers
    layers: int
    heads: int
    head_dim: int


@dataclass(frozen=True, slots=True)
class TeacherFacts:
    """What an opened teacher is: enough to size the work in flight and to fill the manifest.

    `kv_tokens` is what its KV cache holds, 0 where that is not known. `device` is the accelerator's name as its driver
    tells it, `devices` how many of them the teacher spans. `size` is None where the roofline's formula does not hold.
    """

    engine: str
    model: str
    revision: str
    max_running: int
    max_model_len: int
    engine_args: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    start_s: float = 0.0
    kv_tokens: int = 0
    device: str = ""
    devices: int = 1
    size: ModelSize | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """How busy a teacher has been since it opened: sums over engine steps, so that means can be taken over any span.

    `running` and `waiting` count sequences as the engine's own scheduler does, `running_sum` adds up `running` over the
    steps. `sequences` have ended with `sequence_tokens` in the KV cache (prompt and completion, cached prefixes once).
    `starved_s` is time with nothing to step, `busy_s` with something, `cpu_s` the stepping thread's own processor time.
    `recomputed` tokens were computed again after `preempted` preemptions.
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


class Teacher(Protocol):
    """Something that answers.

    `open` may take minutes and is called once, where the engine lives. `answer` returns `prompt.n` completions in a
    stable order; it raises AskFailed when this prompt alone is at fault and EngineDead when the engine is gone, in
    which case no later call will ever answer. Cancelling an `answer` frees what it held in the engine.
    """

    def open(self) -> TeacherFacts: ...

    async def answer(self, prompt: Prompt) -> list[Completion]: ...

    def load(self) -> Load: ...

    def close(self) -> None: ...
