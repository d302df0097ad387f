"""Gates: conditions on a dataset's numbers, as `accepted >= 1000`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

_GATE = re.compile(r"\s*([\w.]+)\s*(>=|<=|==|>|<)\s*(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition: a number of the manifest, by its dotted name, against a limit."""

    name: str
    comparison: str
    limit: float

    def holds(self, value: float) -> bool:
        return _COMPARE[self.comparison](value, self.limit)

    def __str__(self) -> str:
        return f"{self.name} {self.comparison} {self.limit:g}"


BUILT_IN = Gate("accepted", ">=", 1)
"""Holds for every job that has no gate of its own on `accepted`."""


def parse_gate(text: str) -> Gate:
    """The gate of a text. Raises ValueError for another form."""
    match = _GATE.fullmatch(text)
    if match is None:
        raise ValueError(f"wanted a number's name, a comparison and a limit, as accepted >= 1000, got '{text[:80]}'")
    return Gate(match[1], match[2], float(match[3]))


def _checked(text: str) -> str:
    parse_gate(text)
    return text


GateText = Annotated[str, AfterValidator(_checked)]


def gates_of(texts: list[str]) -> list[Gate]:
    """The gates of a job: its own, and the built-in one unless it has one on the same number."""
    gates = [parse_gate(text) for text in texts]
    return gates if any(gate.name == BUILT_IN.name for gate in gates) else [BUILT_IN, *gates]
