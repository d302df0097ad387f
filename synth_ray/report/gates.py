"""Which gates of a job a manifest fails."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from synth_ray.job.gates import Gate
from synth_ray.report.reasons import ENTRIES

_REASONS = {reason.value for reason in ENTRIES}


def failed_gates(manifest: Mapping[str, Any], gates: Iterable[Gate]) -> list[str]:
    """A sentence for each gate that does not hold. A number that the manifest lacks fails its gate."""
    return [sentence for gate in gates if (sentence := _failure(manifest, gate))]


def _failure(manifest: Mapping[str, Any], gate: Gate) -> str:
    value = _number(manifest, gate.name)
    if value is None:
        return f"wanted {gate}, got no number of that name in manifest.json"
    return "" if gate.holds(value) else f"wanted {gate}, got {value:g}"


def _number(manifest: Mapping[str, Any], name: str) -> float | None:
    rows = manifest["rows"]
    if name == "accepted":
        return float(rows["accepted"])
    if name == "accepted_share":
        return float(rows["accepted"] / rows["requested"]) if rows["requested"] else 0.0
    value: Any = manifest
    *folders, last = name.split(".")
    for part in folders:
        value = value.get(part) if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping):
        return None
    value = value.get(last, 0 if last in _REASONS and folders[:1] == ["rows"] else None)
    return float(value) if isinstance(value, (int, float)) else None
