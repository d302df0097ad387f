"""Verdicts that need no process: a final number, a label, a text, a pattern."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from synth_ray.verify.arithmetic import final_answer
from synth_ray.verify.numbers import CURRENCY, DECIMAL, Written, first_number, plain_text, read_number
from synth_ray.verify.verdict import Verdict, Verified, decided

_DENIAL = re.compile(r"\b(?:not|no|nor|never|neither|cannot)\b|n['\u2019]t\b", re.IGNORECASE)
_TOLD = re.compile(r"\banswer\s*(?:is\b|[:=]):?[ \t]*(?=([^\n]{1,60}))", re.IGNORECASE)
_STANDING = re.compile(rf"(?<![\w.,/])-?(?:{CURRENCY}\s?)?(?:{DECIMAL})(?:/\d+)?\s?%?(?![\w/])")
_MARK = re.compile(r"(?:####|\b(?:final )?answer(?: is)?\s*[:=]?)[ \t]*([^\n]+)", re.IGNORECASE)
_BOXED = re.compile(r"\\boxed\s*\{([^{}]*)\}")


def said_number(text: str) -> Written | None:
    r"""The final number of an answer: behind `####`, in `\boxed{}`, the whole answer, behind "the answer is", or the only one.

    None where that is not certain: several numbers, or one that the text may deny.
    """
    if (marked := final_answer(text) or read_number(text)) is not None:
        return marked
    plain = plain_text(text).replace("**", "")
    if _DENIAL.search(plain):
        return None
    told = [first_number(rest) for rest in _TOLD.findall(plain)]
    return _only([number for number in told if number]) if told else _only(_numbers_in(plain))


def gold_number(gold: str) -> Written | None:
    """The number of a gold: a worked answer's final one, or the gold itself, its unit behind it."""
    return final_answer(gold) or read_number(gold) or (first_number(gold) if gold.strip()[:1].isdigit() else None)


def _numbers_in(text: str) -> list[Written]:
    return [number for found in _STANDING.findall(text) if (number := read_number(found)) is not None]


def _only(numbers: list[Written]) -> Written | None:
    """The one value that all of them are."""
    values: set[Fraction] = {number.value for number in numbers}
    return numbers[0] if len(values) == 1 else None


def said_text(text: str) -> str:
    r"""A short answer: what the text says last behind `####`, in `\boxed{}` or behind "answer:", else all of it."""
    if found := _BOXED.findall(text) or _MARK.findall(text):
        return _trimmed(str(found[-1]))
    return text.strip()


def _trimmed(text: str) -> str:
    """The text without marks and stops around it."""
    return text.strip().strip("*_`.\"' ")


def folded(text: str) -> str:
    """The text without case, and with one space where it has any."""
    return " ".join(text.split()).casefold()


class _Quick:
    """A verifier without a process of its own."""

    is_quick = True

    def fault_of(self, gold: Any) -> str:
        return "" if isinstance(gold, str) and gold.strip() else "the gold is no text"

    def close(self) -> None:
        """It started nothing."""


class NumberVerifier(_Quick):
    """Compares the final number of an answer with the gold's, exactly."""

    def fault_of(self, gold: Any) -> str:
        return "" if gold_number(_text(gold)) is not None else "the gold has no final number"

    def verify(self, answer: str, gold: Any) -> Verified:
        true, said = gold_number(_text(gold)), said_number(answer)
        if true is None:
            return Verified(Verdict.UNVERIFIABLE, "the gold has no final number")
        if said is None:
            return Verified(Verdict.NO_ANSWER, "no number that is certainly the final one")
        return decided(said.equals(true), "another final number", str(said.value))


class LabelVerifier(_Quick):
    """Compares the label that an answer gives with the gold, without case and space. `labels` is the closed list, if there is
    one.
    """

    def __init__(self, labels: Sequence[str] = ()) -> None:
        self._labels = frozenset(folded(label) for label in labels)

    def fault_of(self, gold: Any) -> str:
        if fault := super().fault_of(gold):
            return fault
        return "the gold is not among the labels" if self._labels and folded(str(gold)) not in self._labels else ""

    def verify(self, answer: str, gold: Any) -> Verified:
        said = next((label for label in (folded(answer), folded(said_text(answer))) if label in self._labels), "")
        said = said or ("" if self._labels else folded(said_text(answer)))
        if not said:
            return Verified(Verdict.NO_ANSWER, "none of the labels" if self._labels else "no text")
        truth = folded(str(gold))
        return decided(said in (truth, folded(_trimmed(str(gold)))) or folded(answer) == truth, "another label", said)


class TextVerifier(LabelVerifier):
    """Compares the short answer with the gold: equal but for case and spacing."""


class PatternVerifier(_Quick):
    """The gold is a regular expression in RE2's syntax, which takes linear time, that the short answer must match whole."""

    def fault_of(self, gold: Any) -> str:
        if fault := super().fault_of(gold):
            return fault
        return "" if _compiled(gold) is not None else "the gold is no regular expression of RE2"

    def verify(self, answer: str, gold: Any) -> Verified:
        pattern = _compiled(gold)
        if pattern is None:
            return Verified(Verdict.UNVERIFIABLE, "the gold is no regular expression of RE2")
        said = said_text(answer)
        if not said:
            return Verified(Verdict.NO_ANSWER, "no text")
        is_right = any(pattern.fullmatch(text) is not None for text in (said, answer.strip()))
        return decided(is_right, "does not match the pattern", folded(said))


def _compiled(pattern: Any) -> Any:
    import re2  # here, because few jobs need RE2

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error:
        return None


def _text(gold: Any) -> str:
    """A gold as text: numbers of a table are read as JSON."""
    return gold if isinstance(gold, str) else json.dumps(gold) if isinstance(gold, int | float) else ""
