"""Checks of the answers. Every check sets a flag; `drop` says which flags reject a row."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import field_validator

from synth_ray.job.judge import Judging
from synth_ray.job.section import Section, key
from synth_ray.job.texts import Alternatives, Labels, Pattern

Flag = Literal[
    "empty_completion",
    "truncated_thought",
    "truncated",
    "thought_in_answer",
    "too_few_tokens",
    "too_many_tokens",
    "schema_mismatch",
    "repetition_loop",
    "refusal",
    "echo",
    "wrong_language",
    "not_true",
    "poorly_judged",
    "contradictory_label",
    "mojibake",
    "no_thought",
]
FLAGS: tuple[Flag, ...] = get_args(Flag)
"""In order of precedence: the first flag of a row that is in `drop` becomes its reason."""
RECORDED_FLAGS: frozenset[Flag] = frozenset({"contradictory_label", "mojibake", "no_thought"})
"""Flags that reject no row unless the job says so."""


_SINCE_THOUGHTS: frozenset[Flag] = frozenset({"truncated_thought", "thought_in_answer"})
DROPPED_BEFORE_THOUGHTS: list[Flag] = [flag for flag in FLAGS if flag not in RECORDED_FLAGS | _SINCE_THOUGHTS]
"""The default of `drop` before there were flags of thoughts: by it the default is known in digests, so that these stay."""


class Check(Section):
    """Checks of every answer. After a change, rows are checked again from their staged text; `drop` changes admission only."""

    drop: list[Flag] = key(
        lambda: [flag for flag in FLAGS if flag not in RECORDED_FLAGS],
        "Flags that reject a row; the others are only recorded, as `contradictory_label`, `mojibake` and `no_thought` are unless "
        "they are named.",
        changes="admit",
    )
    drop_real_refusals: bool = key(
        False, "Reject a real row that is only copied, as by `build`, for a refusal too, if `drop` has it.", changes="admit"
    )
    min_tokens: int = key(1, "Fewest tokens of a completion.", ge=0, changes="stage")
    max_tokens: int | None = key(None, "Most tokens of a completion.", ge=1, changes="stage")
    max_prompt_tokens: int | None = key(None, "Most tokens of a prompt.", ge=1, changes="stage")
    tokenizer: str = key(
        "",
        "Tokenizer to count tokens with, such as the student model's: a local folder, a tokenizer.json, or a tiktoken encoding "
        "that is on disk. Left out, the teacher's counts.",
        changes="stage",
    )
    max_repetition: float = key(
        0.6,
        "Largest share of a completion, or of a thought, that one repeated passage may fill; one that goes on to the end counts "
        "twice.",
        gt=0,
        le=1,
        changes="stage",
    )
    refusals: Alternatives = key(
        list, "Regular expressions for beginnings of refusals, in addition to the built-in cues.", changes="stage"
    )
    echo: float = key(
        0.9, "Largest share of its own prompt that a completion may repeat word for word.", gt=0, le=1, changes="stage"
    )
    script: Literal["", "latin", "cyrillic", "greek", "arabic", "hebrew", "han", "japanese", "hangul", "devanagari", "thai"] = (
        key("", "Writing system that most letters of a completion must have; empty accepts any.", changes="stage")
    )
    language: list[str] = key(
        list,
        "Languages that a completion may be in, as ISO 639-1 codes (`[en, de]`); left out, any. Needs the extra `language`.",
        changes="stage",
    )
    thought_language: list[str] | None = key(
        None,
        "Languages that a thought may be in; `[]` accepts any. Left out, `language` and `script` hold for thoughts too.",
        changes="stage",
    )
    verify: Literal["none", "arithmetic", "label", "regex", "grounded", "code"] = key(
        "none",
        "How a completion is verified: arithmetic recomputes its sums, label looks it up in the label set, regex matches a "
        "pattern, grounded looks for its words in a passage, code runs it and its tests as a Python program in a sandbox.",
        changes="stage",
    )
    passage: str = key(
        "passage", "Field of the row with the text that `verify: grounded` compares the completion with.", changes="stage"
    )
    min_support: float = key(
        0.8,
        "Smallest share of a completion's content words that must be in its passage or question.",
        gt=0,
        le=1,
        changes="stage",
    )
    gold: str = key("answer", "Field of the row with the true answer, where there is one.", changes="stage")
    tests: str = key(
        "tests", "Field of the row with the tests of `verify: code`; a program without tests only has to run.", changes="stage"
    )
    code_seconds: float = key(10.0, "Seconds a program and its tests may take.", gt=0, le=600, changes="stage")
    code_memory_bytes: int = key(512_000_000, "Memory a program may take.", ge=64_000_000, changes="stage")
    judge: Judging | None = key(None, "Scoring of every answer by the judge; left out, no answer is scored.")
    labels: Labels = key(list, "The label set of `verify: label`.", changes="stage")
    pattern: Pattern = key("", "Regular expression of `verify: regex`; it must match the whole completion.", changes="stage")

    @property
    def drop_of_real(self) -> list[Flag]:
        """The flags that reject a real row: people may decline or speak of thoughts, which is no fault of a model."""
        kept = {"thought_in_answer"} | ({"refusal"} if not self.drop_real_refusals else set())
        return [flag for flag in self.drop if flag not in kept]

    @field_validator("language", "thought_language", mode="before")
    @classmethod
    def _norwegian(cls, value: Any) -> Any:
        """YAML reads a bare `no` as false."""
        return ["no" if v is False else v for v in value] if isinstance(value, list) else value
