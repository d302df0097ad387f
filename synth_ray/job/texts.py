"""Types of keys that hold regular expressions, or a closed list of labels."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator

from synth_ray.job.problems import not_text

_LONGEST_QUOTE = 120


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The compiled pattern. Raises ValueError that quotes it and says where it is wrong."""
    try:
        return re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(
            f"wanted a regular expression, got {pattern[:_LONGEST_QUOTE]!r}, which does not compile: {error or 'it is too deep'}"
        ) from None


def _valid_pattern(pattern: str) -> str:
    compile_pattern(pattern)
    return pattern


def _valid_alternatives(patterns: list[str]) -> list[str]:
    """Patterns that are joined into one: each compiles, also behind another one, and no two have a group of the same name."""
    for pattern in patterns:
        compile_pattern(pattern)
    for joined in [[pattern] for pattern in patterns] + [patterns]:
        try:
            re.compile("|".join(["", *(f"(?:{pattern})" for pattern in joined)]))
        except re.error as error:
            which = repr(joined[0][:_LONGEST_QUOTE]) if len(joined) == 1 else "all of them"
            raise ValueError(
                f"wanted regular expressions that stand beside others, got {which}: {error.msg}; case is ignored in any case"
            ) from None
    return patterns


def _valid_re2(pattern: str) -> str:
    import re2  # here, because reading a job that has no recognizer needs no RE2

    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern.encode("utf-8", "surrogatepass"), options)
    except re2.error as error:
        raise ValueError(
            "wanted a regular expression in RE2 syntax, which has no lookaround, got "
            f"{pattern[:_LONGEST_QUOTE]!r}: {re2_message(error)}"
        ) from None
    return pattern


def re2_message(error: Exception) -> str:
    """What RE2 says is wrong; it says so in bytes."""
    message = error.args[0] if error.args else ""
    return message.decode("utf-8", "replace") if isinstance(message, bytes) else str(message)


Pattern = Annotated[str, AfterValidator(_valid_pattern)]
Alternatives = Annotated[list[str], AfterValidator(_valid_alternatives)]
Re2Pattern = Annotated[str, AfterValidator(_valid_re2)]


def refuse_other_than_text(values: Iterable[object]) -> None:
    """Raise ValueError for a value that YAML did not read as text."""
    for value in values:
        if not isinstance(value, str):
            raise ValueError(f"wanted text, got {not_text(value)}")


def distinct_labels(labels: list[str]) -> list[str]:
    """The labels. Raises ValueError for one that is blank, or that differs from another in case or space alone."""
    seen: dict[str, str] = {}
    for label in labels:
        plain = " ".join(label.split()).casefold()
        if not plain:
            raise ValueError("wanted labels that are text, got a blank one; name it or leave it out")
        if plain in seen:
            other = seen[plain]
            how = "twice" if other == label else f"and {other!r}, which differ in case or space alone"
            raise ValueError(f"wanted each label once, got {label!r} {how}; keep one")
        seen[plain] = label
    return labels


Labels = Annotated[list[str], AfterValidator(distinct_labels)]
