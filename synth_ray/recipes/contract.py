"""What a recipe is, and the `ask` it is given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from synth_ray.job.section import Section
from synth_ray.records import Draft, Message, Request, Seed, reduce_by_fields


@dataclass(frozen=True, slots=True)
class Constraint:
    """What the engine may say: at most one of a JSON Schema, a closed list of choices, a regular expression."""

    json_schema: Mapping[str, Any] | None = None
    choices: tuple[str, ...] | None = None
    regex: str | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer. `finish_reason` is the engine's word: stop, length, abort. `logprobs` are as `records.LOGPROBS` has them."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    logprobs: list[dict[str, Any]] | None = None

    __reduce__ = reduce_by_fields


class Ask(Protocol):
    """Ask a model in a role. Raises `errors.AskFailed(reason)`, which fails the request's unfilled slots."""

    async def __call__(
        self,
        messages: list[Message],
        *,
        role: str = "teacher",
        constraint: Constraint | None = None,
        **sampling: Any,
    ) -> Completion:
        """One completion. `sampling` overrides keys of the job's sampling section for this ask."""
        ...

    async def many(
        self,
        messages: list[Message],
        n: int,
        *,
        role: str = "teacher",
        constraint: Constraint | None = None,
        **sampling: Any,
    ) -> list[Completion]:
        """`n` independent completions of one prompt, in a stable order."""
        ...

    def attempt(self, reason: str) -> None:
        """Count a discarded draft (a best-of loser, a failed evolution): outside the sum of slots."""
        ...


CANARY = "canary"
"""The source of a seed that was planted."""


@dataclass(frozen=True, slots=True)
class Shield:
    """What rows must not repeat of the seeds, and what of these is kept back to see whether they do.

    `kinds` are the fields of a record: category, integer, number, date or text. A row is rejected(copied) when its fields are a
    record that fewer than `rarer_than` seeds are, or when one of its texts shares a run of `longest_run` words with one seed or
    holds a share of `coverage` of its text.
    """

    kinds: Mapping[str, str]
    rarer_than: int
    longest_run: int
    coverage: float
    holdout: float
    canaries: int

    @property
    def texts(self) -> list[str]:
        return [name for name, kind in self.kinds.items() if kind == "text"]


Make = Callable[[Request, Ask, Any], Awaitable[list[Draft]]]


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to make rows, declared in one place.

    `slots(options)` rows come from a request, known at plan time. `shots(options)` seeds of the request's own split
    are drawn as companions, alike in the fields `alike(options)` where it names some. `compares(options)` names what makes
    two rows duplicates: `prompt`, `completion`, or a field; `mask(options)` are constants of a template that every row has,
    left out of the comparison. `novel` says that a row must not repeat a seed either, `evaluates` that rows are for evaluation
    alone. `roles(options)` are the models it asks, each of which the job must name.
    `copies` says that its rows are the seeds themselves, and real where they are. `schema(options)` is the JSON Schema a
    completion must fit. `columns` are extra output columns and their Arrow types. `learn(options, seeds)` is told the seeds once,
    before anything is planned: the options it returns are added to the job's. `shield(options)` keeps the seeds' text out.
    """

    name: str
    options: type[Section]
    make: Make
    slots: Callable[[Any], int] = lambda _: 1
    shots: Callable[[Any], int] = lambda _: 0
    alike: Callable[[Any], tuple[str, ...]] = lambda _: ()
    roles: Callable[[Any], tuple[str, ...]] = lambda _: ("teacher",)
    asks: Callable[[Any], int] = lambda _: 1
    compares: Callable[[Any], tuple[str, ...]] = lambda _: ("prompt", "completion")
    mask: Callable[[Any], tuple[str, ...]] = lambda _: ()
    schema: Callable[[Any], Mapping[str, Any] | None] = lambda _: None
    templates: Callable[[Any], Mapping[str, str]] = lambda _: {}
    copies: bool = False
    novel: bool = False
    evaluates: bool = False
    needs: tuple[str, ...] = ("prompt",)
    columns: Callable[[Any], Mapping[str, str]] = field(default=lambda _: {})
    learn: Callable[[Any, Iterable[Seed]], Mapping[str, Any]] | None = None
    shield: Callable[[Any], Shield | None] = lambda _: None


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def conversation(system: str, text: str) -> list[Message]:
    return ([{"role": "system", "content": system}] if system else []) + [user(text)]


def drafted(prompt: str, answer: Completion, *, fields: Mapping[str, Any] | None = None) -> Draft:
    """The draft of a plain question and its answer, with the answer's own token counts."""
    return Draft(
        prompt=[user(prompt)],
        completion=answer.text,
        fields=dict(fields or {}),
        finish_reason=answer.finish_reason,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        logprobs=answer.logprobs,
    )
