"""What an answer must be. Every check flags; `drop` says which flags reject a row."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import field_validator

from synth_ray.job.judging import Judging
from synth_ray.job.section import Section, key

Flag = Literal[
    "empty_completion",
    "truncated",
    "too_few_tokens",
    "too_many_tokens",
    "schema_mismatch",
    "repetition_loop",
    "refusal",
    "echo",
    "wrong_language",
    "not_true",
    "poorly_judged",
]
FLAGS: tuple[Flag, ...] = (
    "empty_completion",
    "truncated",
    "too_few_tokens",
    "too_many_tokens",
    "schema_mismatch",
    "repetition_loop",
    "refusal",
    "echo",
    "wrong_language",
    "not_true",
    "poorly_judged",
)
"""In the order in which the first one that drops a row becomes its reason."""


class Check(Section):
    """Checks of every answer. A changed key re-stages from staged text; `drop` alone only re-admits."""

    drop: list[Flag] = key(lambda: list(FLAGS), "Flags that reject a row; the others are only recorded.", changes="admit")
    min_tokens: int = key(1, "Fewest tokens of a completion.", ge=0, changes="stage")
    max_tokens: int | None = key(None, "Most tokens of a completion.", ge=1, changes="stage")
    max_prompt_tokens: int | None = key(None, "Most tokens of a prompt.", ge=1, changes="stage")
    tokenizer: str = key(
        "",
        "Tokenizer of the student, to count by: a local folder or tokenizer.json, or a tiktoken encoding that is on disk. "
        "Left out, the teacher's own counts.",
        changes="stage",
    )
    max_repetition: float = key(
        0.6, "Largest share of a completion that one repeated passage may fill.", gt=0, le=1, changes="stage"
    )
    refusals: list[str] = key(
        list, "More openings of refusals, as regular expressions (RE2), beside the built-in ones.", changes="stage"
    )
    echo: float = key(0.9, "Share of its own prompt a completion may repeat word for word.", gt=0, le=1, changes="stage")
    script: Literal["", "latin", "cyrillic", "greek", "arabic", "hebrew", "han", "japanese", "hangul", "devanagari", "thai"] = (
        key("", "Writing system that most letters of a completion must have; empty accepts any.", changes="stage")
    )
    verify: Literal["none", "arithmetic", "label", "regex", "grounded", "code"] = key(
        "none",
        "How a completion is shown to be true: recomputed, in the label set, of a form, from its passage, or as a Python program "
        "that runs in a sandbox and passes its tests.",
        changes="stage",
    )
    passage: str = key("passage", "Field of the row with the text that `verify: grounded` holds it against.", changes="stage")
    min_support: float = key(
        0.8, "Share of a completion's content words that its passage or question must hold.", gt=0, le=1, changes="stage"
    )
    gold: str = key("answer", "Field of the row with the true answer, where there is one.", changes="stage")
    tests: str = key("tests", "Field of the row with the tests of `verify: code`; without them it has to run.", changes="stage")
    code_seconds: float = key(10.0, "Seconds a program and its tests may take.", gt=0, le=600, changes="stage")
    code_memory_bytes: int = key(512_000_000, "Memory a program may take.", ge=64_000_000, changes="stage")
    judge: Judging | None = key(None, "Scores of the judge for every answer; left out, none are asked for.")
    labels: list[str] = key(list, "The label set of `verify: label`.", changes="stage")
    pattern: str = key("", "The form (RE2, the whole completion) of `verify: regex`.", changes="stage")

    @field_validator("refusals")
    @classmethod
    def _compile(cls, value: list[str]) -> list[str]:
        for pattern in value:
            _must_compile(pattern)
        return value

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str) -> str:
        _must_compile(value)
        return value

    @field_validator("labels", mode="before")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        return [str(v) for v in value] if isinstance(value, list) else value


def _must_compile(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"wanted a regular expression, got one that does not compile: {error}") from None
