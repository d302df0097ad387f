"""The parts of a refusal in one language. It has the assistant as its subject and the request as its object."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cues:
    """Patterns of one language, for lower-case text with straight apostrophes.

    Every refusal has a text of `hint`, which is found faster than a pattern is tried. `cannot` is the speaker with a negation,
    `verb` what an assistant does for a user, `service` those of them that only an assistant says, whatever their object,
    `request` an object that stands for the request or for harm, and `product` a text or an advice. `outright` are sentences that
    refuse by themselves. `preface` may stand before a refusal; `personal` shows that a person declines for reasons of their life.
    """

    hint: tuple[str, ...]
    cannot: re.Pattern[str]
    verb: re.Pattern[str]
    service: re.Pattern[str]
    request: re.Pattern[str]
    product: re.Pattern[str]
    outright: re.Pattern[str]
    preface: re.Pattern[str]
    personal: re.Pattern[str]


def cues(hint: str, **patterns: str) -> Cues:
    """The cues of a language; the texts of `hint` are separated by |."""
    return Cues(tuple(hint.split("|")), **{name: re.compile(pattern) for name, pattern in patterns.items()})
