"""The funnel: the requested slots, counted by outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from synth_ray.records import Reason
from synth_ray.report.reason_entry import Stage
from synth_ray.report.reasons import ENTRIES

_BAR = 32
SLOT_STAGES: tuple[Stage, ...] = ("ask", "recipe", "check", "scrub", "admit")
"""The stages of a slot, in pipeline order; seeds are rejected before."""


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


@dataclass(frozen=True, slots=True)
class StageStep:
    """One stage of the funnel: how many slots reached it, how many left it, and the others by reason."""

    stage: Stage
    entered: int
    left: int
    by_reason: dict[str, int]


def by_stage(manifest: Mapping[str, Any]) -> list[StageStep]:
    """Where slots ended, stage by stage in pipeline order; what leaves one enters the next, and the last leaves the accepted.

    A reason that several stages raise counts at the last of them, where most of its slots end. A reason that this version does
    not know counts at admission.
    """
    rows = manifest["rows"]
    ended: dict[Stage, dict[str, int]] = {stage: {} for stage in SLOT_STAGES}
    for verdict in ("rejected", "failed"):
        for reason, n in (rows.get(verdict) or {}).items():
            ended[stage_of(reason)][reason] = n
    steps = []
    entered = rows["accepted"] + sum(sum(reasons.values()) for reasons in ended.values())
    for stage, counted in ended.items():
        reasons = dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))
        left = entered - sum(reasons.values())
        steps.append(StageStep(stage, entered, left, reasons))
        entered = left
    return steps


def stage_of(reason: str) -> Stage:
    """The stage that a slot of this reason ended in: of several, the last one, which is the commonest."""
    known = ENTRIES[Reason(reason)].stages if reason in set(Reason) else ()
    return next((stage for stage in reversed(known) if stage in SLOT_STAGES), SLOT_STAGES[-1])


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
