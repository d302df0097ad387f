"""Which gates a manifest passes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from synth_ray.job.gates import Gate
from synth_ray.report.reasons import ENTRIES

_REASONS = {reason.value for reason in ENTRIES}
_SHORT_NAMES = ("accepted", "accepted_share", "judge.rate")
_NEAR_NAMES = 3


@dataclass(frozen=True, slots=True)
class GateResult:
    """How one gate ended. `value` is None where the manifest has no such number, which fails the gate; `why` then says so."""

    gate: Gate
    value: float | None
    why: str = ""

    @property
    def holds(self) -> bool:
        return self.value is not None and self.gate.holds(self.value)

    @property
    def sentence(self) -> str:
        """What was wanted and what was got, also of a gate that holds."""
        if self.value is None:
            return f"wanted {self.gate}, got {self.why}"
        return f"wanted {self.gate}, got {self.value:.{12 if self.value.is_integer() else 6}g}"


def gate_results(manifest: Mapping[str, Any], gates: Iterable[Gate]) -> list[GateResult]:
    """The result of each gate, in order."""
    return [_result(manifest, gate) for gate in gates]


def failed_gates(results: Iterable[GateResult]) -> list[str]:
    """A sentence for each gate that does not hold."""
    return [result.sentence for result in results if not result.holds]


def _result(manifest: Mapping[str, Any], gate: Gate) -> GateResult:
    value = _number(manifest, gate.name)
    return GateResult(gate, value, "" if value is not None else _why_missing(manifest, gate.name))


def _number(manifest: Mapping[str, Any], name: str) -> float | None:
    rows = manifest["rows"]
    if name == "accepted_share":
        return float(rows["accepted"] / rows["requested"]) if rows["requested"] else 0.0
    path = {"accepted": "rows.accepted", "judge.rate": "judge.good.corrected"}.get(name, name)
    value: Any = manifest
    *folders, last = path.split(".")
    for part in folders:
        value = value.get(part) if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping):
        return None
    value = value.get(last, 0 if last in _REASONS and folders[:1] == ["rows"] else None)
    if isinstance(value, Mapping):
        value = value.get("value")
    return float(value) if isinstance(value, (int, float)) else None


def _why_missing(manifest: Mapping[str, Any], name: str) -> str:
    section = name.split(".", 1)[0]
    if section in manifest and manifest[section] in (None, {}):
        return f"no number: '{section}' was not measured for this version"
    if name == "judge.rate":
        return "no number: a corrected rate was not measured, since it needs a judge that is better than chance on gold rows"
    near = get_close_matches(name, [*_SHORT_NAMES, *_names(manifest)], _NEAR_NAMES)
    return "no number of that name in manifest.json" + (f"; near it are {', '.join(near)}" if near else "")


def _names(values: Mapping[str, Any], start: str = "") -> Iterator[str]:
    """The dotted names of all numbers."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            if isinstance(value.get("value"), (int, float)):
                yield f"{start}{name}"
            yield from _names(value, f"{start}{name}.")
        elif isinstance(value, (int, float)):
            yield f"{start}{name}"
