"""Replaces the spans of a text, maps offsets back to the original, and protects earlier replacements from later scans."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from re import Pattern
from typing import NamedTuple

from synth_ray.scrub.findings import Finding, Span
from synth_ray.scrub.replace.placeholders import Replacer


class Edit(NamedTuple):
    """Characters [start, end) of the leaf at `path` became [new_start, new_end). Offsets only, never a value."""

    path: tuple[str | int, ...]
    start: int
    end: int
    new_start: int
    new_end: int
    entity: str


class Rendered(NamedTuple):
    """The new text, and (start, end, new_start, new_end, entity) of each replaced span."""

    text: str
    replacements: list[tuple[int, int, int, int, str]]

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """The range of the original text that [start, end) of the new text came from."""
        return self._original_offset(start, at_end=False), self._original_offset(end, at_end=True)

    def _original_offset(self, offset: int, *, at_end: bool) -> int:
        shift = 0
        for start, end, new_start, new_end, _ in self.replacements:
            if offset < new_start or (at_end and offset == new_start):
                break
            if offset < new_end or (at_end and offset == new_end):
                return end if at_end else start
            shift = end - new_end
        return offset + shift


_LEFT = re.compile(r"\w[^\w\s\"(),;<>\[\]\\]*$|[\w.+:@/-]$")
_RIGHT = re.compile(r"[^\w\s\"(),;<>\[\]\\]{0,20}\w|[\w@/-]")
"""Characters that tie a span to the text before or after it, so that a finder would read both as one match."""


def replace_spans(text: str, spans: Sequence[Span], replacer: Replacer) -> Rendered:
    """The text with each span replaced. Spans must be disjoint and in order."""
    pieces: list[str] = []
    replacements: list[tuple[int, int, int, int, str]] = []
    last = length = 0
    for i, (start, end, entity) in enumerate(spans):
        is_adjacent = (start and start == last) or (i + 1 < len(spans) and spans[i + 1].start == end)
        alone = not (is_adjacent or _LEFT.search(text[max(0, start - 20) : start]) or _RIGHT.match(text, end))
        new = replacer(entity, text[start:end], alone=alone)
        pieces += (text[last:start], new)
        length += start - last
        replacements.append((start, end, length, length + len(new), entity))
        length += len(new)
        last = end
    return Rendered("".join([*pieces, text[last:]]), replacements)


def drop_protected(text: str, findings: list[Finding], protected: Sequence[Pattern[str]]) -> list[Finding]:
    """The findings without the parts that an earlier scrub wrote; remaining parts without a letter or digit are dropped."""
    ranges = sorted(m.span() for pattern in protected for m in pattern.finditer(text))
    if not ranges:
        return findings
    kept: list[Finding] = []
    for finding in findings:
        for start, end in _cut_out(finding.start, finding.end, ranges):
            if any(map(str.isalnum, text[start:end])):
                kept.append(Finding(finding.entity, start, end, finding.score))
    return kept


def _cut_out(start: int, end: int, protected: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    parts: list[tuple[int, int]] = []
    for a, b in protected:
        if b <= start or a >= end:
            continue
        if start < a:
            parts.append((start, a))
        start = max(start, b)
    return [*parts, (start, end)] if start < end else parts


ReplacerFactory = Callable[[Sequence[str]], Replacer]
"""Makes the replacer of one record from all its texts."""
