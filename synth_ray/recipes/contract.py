"""The contract between a recipe and the program: `Recipe`, and the `Ask` it is given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from synth_ray.job.section import Section
from synth_ray.recipes.finish_reasons import WHOLE
from synth_ray.records import Draft, Message, Request, Seed, TopK, reduce_by_fields
from synth_ray.toolbox.programs import Called, Face, Program


@dataclass(frozen=True, slots=True)
class Constraint:
    """Restricts what the engine may generate: at most one of a JSON Schema, a closed list of choices, a regular expression."""

    json_schema: Mapping[str, Any] | None = None
    choices: tuple[str, ...] | None = None
    regex: str | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer. `finish_reason` is a word of `finish_reasons`. `logprobs` has the type `records.LOGPROBS`.

    Token counts are None where the engine did not tell them. `reasoning` is what the model thought before the text, and
    `reasoning_tokens` how many of the `completion_tokens` that took: no recipe sees a thought in `text`.
    `asked_alone`: it was not asked together with the answers before it, so its prompt was paid for again.
    `cached_tokens` of the prompt were read from a cache, `cache_written_tokens` written into one that is billed for it.
    `top_k` was asked for. `scores` are a reward model's or a classifier's, by label; `vector` is an embedding model's.
    """

    text: str
    finish_reason: str
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int = 0
    logprobs: list[dict[str, Any]] | None = None
    reasoning: str = ""
    asked_alone: bool = False
    reasoning_tokens: int | None = None
    top_k: TopK | None = None
    scores: dict[str, float] | None = None
    vector: list[float] | None = None
    cache_written_tokens: int = 0

    __reduce__ = reduce_by_fields

    @property
    def is_cut_in_thought(self) -> bool:
        """Whether the model was still thinking when it ended: there is a thought and no answer."""
        return bool(self.reasoning) and not self.text.strip()

    @property
    def is_whole(self) -> bool:
        """Whether the model ended it: neither a limit nor a filter cut it."""
        return self.finish_reason in WHOLE


class Ask(Protocol):
    """Asks a model in a role. Raises `errors.AskFailed(reason)`, which fails the request's unfilled slots."""

    async def __call__(
        self,
        messages: list[Message],
        *,
        role: str = "teacher",
        constraint: Constraint | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
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
        tools: Sequence[Mapping[str, Any]] = (),
        **sampling: Any,
    ) -> list[Completion]:
        """`n` independent completions of one prompt, in a stable order. `tools` are shown by the model's chat template; calls
        come back inside the text, as `markup.call_text` writes them.
        """
        ...

    async def score(self, messages: list[Message], answer: str, *, role: str = "teacher", top_k: int = 0) -> Completion:
        """The answer as the model's own tokens, with the log-probability of each (`logprobs`, without texts) and, in `top_k`, of
        the likeliest at its place. The model generates nothing; its `prompt_tokens` are prompt and answer together.
        """
        ...

    async def rate(self, messages: list[Message], answer: str, *, role: str = "judge") -> Mapping[str, float]:
        """What a reward model or a classifier gives the answer: a score by label; a reward model's one is `reward`."""
        ...

    async def embed(self, text: str, *, role: str = "judge") -> list[float]:
        """An embedding model's vector of a text."""
        ...

    async def instruct(self, messages: list[Message], *, role: str = "teacher", **sampling: Any) -> Completion:
        """A user's message that the model itself writes after these turns, from its chat template's opening of a user's turn."""
        ...

    @property
    def tools(self) -> Mapping[str, Face]:
        """The tools that really run, by name, as their programs describe themselves."""
        ...

    async def call(self, name: str, arguments: dict[str, Any], *, state: Any = None) -> Called:
        """What a tool gives, and the state after it. A resumed request gets what it got before: none with effects runs again."""
        ...

    def attempt(self, reason: str) -> None:
        """Count a discarded draft by its reason (a best-of loser, a failed evolution). It does not use up a slot."""
        ...


ANY_LENGTH = 2**31
"""`Recipe.label_words` where every completion is a label."""

CANARY = "canary"
"""`Seed.source` of a canary: a made-up record that was planted among the seeds."""


@dataclass(frozen=True, slots=True)
class Shield:
    """Protects the seeds' records: what rows must not repeat of them, and what is held out or planted to test for leaks.

    `kinds` are the fields of a record: category, integer, number, date or text. A row is rejected(copied) if its fields equal a
    record that fewer than `rarer_than` seeds have, or if one of its texts shares a run of `longest_run` words with one seed or
    repeats a share of `coverage` of that seed's text. `holdout` is the share of records that are never shown, `canaries` the
    number of made-up records that are planted.
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
    """One way to make rows, declared in one place. Each function receives the job's options for the recipe.

    - `make(request, ask, options)` makes the drafts of a request, one per slot.
    - `slots` is the number of rows per request, known at plan time; `asks` is how many completions they need, for the estimate.
    - `shots` is the number of seeds of the request's own split that it receives as few-shot examples; they have the same values
      in the fields that `alike` names, if any.
    - `roles` are the models it asks; the job must configure each of them. `rates`: it asks the judge for numbers, not for words.
    - `compares` names what makes two rows duplicates: `prompt`, `completion`, or a field. `mask` are constant texts of a template
      that every row contains; they are left out of the comparison.
    - `novel`: a row must not repeat a seed either. `evaluates`: rows are for evaluation only. `copies`: rows are copies of the
      seeds, and real if these are.
    - `generated` names what the recipe generates beside the completion: `prompt` (its last turn), `turns` (all turns but the
      system message and the opening), or fields. A refusal there is a refusal of the row.
    - `schema` is the JSON Schema that a completion must fit. `columns` are extra output columns and their types.
    - `label_words`: a completion of at most so many words is the label of its input, so that equal inputs must have equal ones.
    - `templates` are the Jinja templates by option, compiled before the run.
    - `learn(options, seeds)` receives the seeds once before planning; the options it returns are added to the job's.
    - `seedless`: it can do without seeds. `instructs`: it has the model write a user's turn (`Ask.instruct`).
    - `shield` protects the seeds' records from being repeated. `programs` run its tools.
    - `top_k` is how many of the likeliest tokens of every position it asks for (`top_k_logprobs`). `scores`: it asks for the
      log-probabilities of given answers, `Ask.score`.
    """

    name: str
    options: type[Section]
    make: Make
    slots: Callable[[Any], int] = lambda _: 1
    shots: Callable[[Any], int] = lambda _: 0
    alike: Callable[[Any], tuple[str, ...]] = lambda _: ()
    roles: Callable[[Any], tuple[str, ...]] = lambda _: ("teacher",)
    rates: Callable[[Any], bool] = lambda _: False
    asks: Callable[[Any], int] = lambda _: 1
    compares: Callable[[Any], tuple[str, ...]] = lambda _: ("prompt", "completion")
    mask: Callable[[Any], tuple[str, ...]] = lambda _: ()
    generated: Callable[[Any], tuple[str, ...]] = lambda _: ()
    schema: Callable[[Any], Mapping[str, Any] | None] = lambda _: None
    templates: Callable[[Any], Mapping[str, str]] = lambda _: {}
    copies: bool = False
    novel: bool = False
    evaluates: bool = False
    seedless: bool = False
    instructs: bool = False
    label_words: Callable[[Any], int] = lambda _: 0
    columns: Callable[[Any], Mapping[str, str]] = field(default=lambda _: {})
    learn: Callable[[Any, Iterable[Seed]], Mapping[str, Any]] | None = None
    shield: Callable[[Any], Shield | None] = lambda _: None
    top_k: Callable[[Any], int] = lambda _: 0
    scores: bool = False
    programs: Callable[[Any], Sequence[Program]] = lambda _: ()


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def conversation(system: str, text: str) -> list[Message]:
    return ([{"role": "system", "content": system}] if system else []) + [user(text)]


def transcript(turns: Sequence[Message]) -> str:
    """A single turn as it is; a conversation as lines of `role: content`."""
    return turns[0]["content"] if len(turns) == 1 else "\n".join(f"{turn['role']}: {turn['content']}" for turn in turns)


def drafted(prompt: str | list[Message], answer: Completion, *, fields: Mapping[str, Any] | None = None) -> Draft:
    """A draft of one user prompt, or of a conversation, and its answer, with the answer's thought and token counts."""
    return Draft(
        prompt=[user(prompt)] if isinstance(prompt, str) else prompt,
        completion=answer.text,
        fields=dict(fields or {}),
        finish_reason=answer.finish_reason,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        logprobs=answer.logprobs,
        reasoning=answer.reasoning,
        reasoning_tokens=answer.reasoning_tokens,
        top_k=answer.top_k,
    )
