"""Gates: conditions on a dataset's numbers, as `accepted >= 1000`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from synth_ray.errors import JobError
from synth_ray.job.yaml_file import read_list_or_mapping

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
        return f"{self.name} {self.comparison} {self.limit:.12g}"


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


def read_gates(path: str | Path) -> list[Gate]:
    """The gates of a file: a YAML list of them, or a job file with the key `gates`. Raises JobError with each wrong one."""
    document = read_list_or_mapping(path)
    texts = document.get("gates") if isinstance(document, dict) else document
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise JobError(f"{path}: wanted a list of gates, as `- accepted_share >= 0.6`, or a job file with `gates:`, got neither")
    problems = [f"{path}: gate {number}: {problem}" for number, text in enumerate(texts, 1) if (problem := _problem(text))]
    if problems:
        raise JobError("\n".join(problems))
    return gates_of(texts)


def _problem(text: str) -> str:
    try:
        parse_gate(text)
    except ValueError as error:
        return str(error)
    return ""
