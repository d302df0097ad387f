"""Detectors that a job configures itself: its own recognizers, and its deny list of values that are always replaced."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from synth_ray.errors import JobError
from synth_ray.job.scrub import Recognizer
from synth_ray.job.texts import re2_message
from synth_ray.scrub.detect.context_words import ContextWords, boosted_score
from synth_ray.scrub.findings import Finding
from synth_ray.scrub.text_view import TextView, seconds_left


def compile_re2(expression: str, *, where: str, caseless: bool = False) -> Any:
    """Compile an expression with RE2, whose running time is linear in the text. Raises JobError if it is not RE2 syntax."""
    import re2

    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = not caseless
    options.max_mem = 64 << 20
    try:
        return re2.compile(expression.encode(), options)
    except re2.error as error:
        told = re2_message(error)
        raise JobError(f"{where}: wanted a regular expression in RE2 syntax, got {told}; RE2 has no lookaround") from None


def recognizer(section: Recognizer, *, where: str) -> Any:
    """The find function of a recognizer of the job. The finding is the expression's first group if it has one, else the whole
    match.
    """
    regex = compile_re2(section.regex, where=where)
    words = ContextWords("|".join(re.escape(w).replace(r"\ ", r"\s+") for w in section.context)) if section.context else None

    def find(view: TextView, deadline: float) -> Iterator[Finding]:
        seconds_left(deadline)
        for m in regex.finditer(view.data):
            start, end = m.span(1) if regex.groups and m.span(1)[0] >= 0 else m.span()
            start, end = view.char_offset(start), view.char_offset(end)
            if start < end:
                helped = words is not None and words.is_near(view.text, start, end)
                yield Finding(section.entity, start, end, boosted_score(section.score) if helped else section.score)

    return find


def gate(values: Sequence[str]) -> str | None:
    """The prefilter expression of a deny list. None if a value is not ASCII, because the prefilter ignores case only in ASCII."""
    if not all(v.isascii() for v in values):
        return None
    return "|".join(re.escape(v.strip()) for v in sorted(set(values)))


def deny_list_finder(entity: str, values: Sequence[str]) -> Any:
    """The find function of a deny list: its values as whole words, ignoring case."""
    import re2

    longest_first = sorted({v.strip() for v in values}, key=lambda v: (-len(v), v))
    regex = compile_re2("|".join(re2.escape(v) for v in longest_first), where=f"scrub.deny.{entity}", caseless=True)
    folded = [(v.casefold(), len(v)) for v in longest_first]

    def find(view: TextView, deadline: float) -> Iterator[Finding]:
        seconds_left(deadline)
        text, at = view.text, 0
        while m := regex.search(view.data, at):
            start = view.char_offset(m.start())
            ends = (start + n for v, n in folded if text[start : start + n].casefold() == v)
            end = next((end for end in ends if _is_whole_word(text, start, end)), 0)
            at = m.start() + 1
            if end:
                at = m.start() + len(text[start:end].encode("utf-8", "surrogatepass"))
                yield Finding(entity, start, end, 1.0)

    return find


def _is_whole_word(text: str, start: int, end: int) -> bool:
    before, after = text[start - 1 : start], text[end : end + 1]
    return not (before.isalnum() and text[start].isalnum()) and not (after.isalnum() and text[end - 1].isalnum())
