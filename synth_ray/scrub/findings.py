"""Findings, and how overlapping findings become disjoint spans to replace."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from synth_ray.errors import SynthRayError


class Finding(NamedTuple):
    """Characters [start, end) of a text are this entity, with a score between 0 and 1."""

    entity: str
    start: int
    end: int
    score: float


class Span(NamedTuple):
    """Characters [start, end) of a text are to be replaced as this entity. The spans of a text are disjoint and in order."""

    start: int
    end: int
    entity: str


class ScrubFailed(SynthRayError):
    """A record could not be scrubbed. The message has the kind of failure and lengths, never a value."""


class Finder(Protocol):
    """Finds entities in texts.

    Law: findings depend on the text alone. `deadline` is a reading of `time.monotonic`: past it, a finder raises TimeoutError as
    soon as it can. An error is never reported as "nothing found".
    """

    @property
    def entities(self) -> frozenset[str]: ...

    def find(self, texts: Sequence[str], *, deadline: float) -> list[list[Finding]]: ...


class QuickFinder(Finder, Protocol):
    """A finder that tells many texts without a finding at once."""

    def without_findings(self, texts: Sequence[str]) -> Sequence[bool]:
        """Of each text, whether a quick look shows that `find` would find nothing in it."""
        ...


_FIRST = (
    "SECRET",
    "IBAN_CODE",
    "CREDIT_CARD",
    "EMAIL_ADDRESS",
    "CRYPTO",
    "US_ITIN",
    "US_SSN",
    "UK_NHS",
    "IP_ADDRESS",
    "MAC_ADDRESS",
    "PHONE_NUMBER",
    "URL",
)
_RANK = {entity: rank for rank, entity in enumerate(_FIRST)}


def spans_of(findings: Iterable[Finding]) -> list[Span]:
    """Merge overlapping findings, in any order, into spans. A span takes the entity that ranks first in `_FIRST`, then the
    longest.
    """
    spans: list[Span] = []
    names: list[tuple[int, int, str]] = []
    for f in sorted(findings, key=lambda f: (f.start, f.end, f.entity)):
        name = (_RANK.get(f.entity, len(_RANK)), f.start - f.end, f.entity)
        if spans and f.start < spans[-1].end:
            names[-1] = min(names[-1], name)
            spans[-1] = Span(spans[-1].start, max(spans[-1].end, f.end), names[-1][2])
        else:
            spans.append(Span(f.start, f.end, name[2]))
            names.append(name)
    return spans
