"""The funnel: the requested slots, counted by outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_BAR = 32


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the funnel. `share` is the fraction of the requested slots."""

    verdict: str
    reason: str
    rows: int
    share: float


def funnel(manifest: Mapping[str, Any]) -> list[Step]:
    """Accepted rows first, then every reason, most frequent first (ties by name)."""
    rows = manifest["rows"]
    requested = max(1, rows["requested"])
    steps = [Step("accepted", "", rows["accepted"], rows["accepted"] / requested)]
    for verdict in ("rejected", "failed"):
        reasons = sorted((rows.get(verdict) or {}).items(), key=lambda item: (-item[1], item[0]))
        steps += [Step(verdict, reason, n, n / requested) for reason, n in reasons if n]
    return steps


def adds_up(manifest: Mapping[str, Any]) -> bool:
    rows = manifest["rows"]
    lost = sum(sum((rows.get(verdict) or {}).values()) for verdict in ("rejected", "failed"))
    return bool(rows["accepted"] + lost + rows.get("pending", 0) == rows["requested"])


def funnel_text(manifest: Mapping[str, Any]) -> str:
    """The funnel for a terminal, at most 100 columns wide."""
    rows, seeds = manifest["rows"], manifest.get("seeds", {})
    lines = [f"requested {rows['requested']:>9,}"]
    lines += [_line(step) for step in funnel(manifest)]
    if seeds.get("rejected"):
        reasons = ", ".join(f"{reason} {n}" for reason, n in sorted(seeds["rejected"].items()))
        lines.append(f"seeds: {seeds['read']} read, {seeds['planned']} planned, rejected: {reasons}")
    if manifest.get("pii"):
        reasons = ", ".join(f"{entity} {n}" for entity, n in sorted(manifest["pii"].items()))
        lines.append(f"scrubbed: {reasons}")
    splits = ", ".join(f"{name} {n:,}" for name, n in manifest["splits"].items())
    lines.append(f"splits: {splits}")
    return "\n".join(lines)


def _line(step: Step) -> str:
    bar = "█" * round(step.share * _BAR)
    name = step.verdict if not step.reason else f"  {step.verdict} {step.reason}"
    return f"{name:<34}{step.rows:>9,}  {step.share:6.1%}  {bar}"
