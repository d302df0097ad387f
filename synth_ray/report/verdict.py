"""The verdict at a glance: whether the run is complete, whether its gates hold, and what to look at first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from synth_ray.job.gates import Gate
from synth_ray.report import charts
from synth_ray.report.blocks import Status
from synth_ray.report.funnel import adds_up, funnel
from synth_ray.report.gates import GateResult, gate_results
from synth_ray.report.numerals import brief_seconds, count, interval, is_number, number, plain, rows, share, short, usd
from synth_ray.report.words import MEASURES, reason_title

_SHOWN_REASONS = 3

Finding = tuple[str, str, str]
"""Level, sentence, and the id of the section that shows it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The head of the page. `figures` are (value, name, remark); `findings` come with the worst first."""

    status: Status
    sentence: str
    bar: Markup
    legend: Sequence[tuple[str, str]]
    figures: Sequence[tuple[str, str, str]]
    gates: Sequence[tuple[Status, str]]
    findings: Sequence[Finding]


def verdict(manifest: Mapping[str, Any], gates: Sequence[Gate]) -> Verdict:
    results = [_gate(result) for result in gate_results(manifest, gates)]
    findings = sorted(_findings(manifest), key=lambda finding: ("fail", "warn", "").index(finding[0]))
    counts = manifest["rows"]
    accepted, requested = counts["accepted"], max(1, counts["requested"])
    parts = [("accepted", accepted, "accepted"), ("rejected", sum(counts.get("rejected", {}).values()), "rejected")]
    parts += [
        ("failed", sum(counts.get("failed", {}).values()), "failed"),
        ("pending", counts.get("pending", 0), "not decided yet"),
    ]
    return Verdict(
        status=_status(manifest, [finding for finding in findings if finding[0] == "fail"], results),
        sentence=f"{count(accepted)} of {count(counts['requested'])} rows accepted",
        bar=charts.bar([(n / requested, colour) for colour, n, _ in parts]),
        legend=[(colour, f"{name} {count(n)} ({share(n, requested)})") for colour, n, name in parts if n],
        figures=list(_figures(manifest)),
        gates=results,
        findings=findings,
    )


def _status(manifest: Mapping[str, Any], failures: Sequence[Finding], gates: Sequence[tuple[Status, str]]) -> Status:
    if not manifest.get("complete", True):
        return Status("fail", "Not complete")
    broken = sum(status.level == "fail" for status, _ in gates)
    if broken:
        return Status("fail", f"Complete, but {broken} of {len(gates)} {'gate' if len(gates) == 1 else 'gates'} failed")
    if failures:
        return Status("warn", "Complete; look at what is listed below before training")
    passed = f"; {'the gate holds' if len(gates) == 1 else f'all {len(gates)} gates hold'}" if gates else ""
    return Status("ok", f"Complete{passed}")


def _gate(result: GateResult) -> tuple[Status, str]:
    return (Status("ok", "holds") if result.holds else Status("fail", "fails")), result.sentence


def _findings(manifest: Mapping[str, Any]) -> Iterator[Finding]:
    if not manifest.get("complete", True):
        stopped = short(manifest.get("stopped") or "", 300)
        yield (
            "fail",
            f"This run stopped before its end{f': {stopped}' if stopped else ''}. Run the same command again to continue.",
            "",
        )
    if not adds_up(manifest):
        yield "fail", "The funnel does not add up: please report this as a bug.", "funnel"
    yield from _narrower(manifest)
    yield from _leaked(manifest)
    yield from _useless(manifest)
    lost = [step for step in funnel(manifest) if step.reason][:_SHOWN_REASONS]
    if lost:
        names = ", ".join(f"{short(reason_title(step.reason).lower())} ({share(step.share)})" for step in lost)
        yield "", f"Most rows were lost for: {names}.", "funnel"


def _narrower(manifest: Mapping[str, Any]) -> Iterator[Finding]:
    measured = manifest.get("narrowing") or {}
    for level, line in (("fail", "failing"), ("warn", "warning")):
        past = [name for name, measure in measured.items() if measure.get("verdict") == level]
        if past:
            names = ", ".join(MEASURES.get(name, name).lower() for name in past)
            verb = "are" if len(past) > 1 else "is"
            yield (
                level,
                f"Narrower than real data: {len(past)} of {len(measured)} measures {verb} past the {line} line ({names}).",
                "narrowing",
            )


def _leaked(manifest: Mapping[str, Any]) -> Iterator[Finding]:
    leaks = manifest.get("leaks")
    if leaks:
        yield "fail", f"{rows(leaks)} repeat text across the line between training and evaluation.", "safety"
    p = ((manifest.get("disclosure") or {}).get("test") or {}).get("p")
    if is_number(p) and p < 0.05:
        yield (
            "fail",
            "The rows disclose records that the teacher was shown: they lie nearer to them than to records it never saw.",
            "safety",
        )


def _useless(manifest: Mapping[str, Any]) -> Iterator[Finding]:
    tested = manifest.get("tstr") or {}
    real, both = tested.get("real") or {}, tested.get("both") or {}
    if is_number(both.get("high")) and is_number(real.get("low")) and both["high"] < real["low"]:
        yield "warn", "A classifier does worse with these rows added to the real ones than without them.", "usefulness"


def _figures(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    counts, cost = manifest["rows"], manifest.get("cost") or {}
    splits = {name: n for name, n in (manifest.get("splits") or {}).items() if n}
    yield share(counts["accepted"], counts["requested"]), "of the requested rows accepted", ""
    yield count(sum(splits.values())), "rows in the dataset", ", ".join(f"{name} {count(n)}" for name, n in splits.items())
    tested = manifest.get("tstr") or {}
    if is_number(tested.get("macro_f1")):
        real = (tested.get("real") or {}).get("macro_f1")
        beside = f"real rows alone {plain(real)}" if is_number(real) else ""
        remark = "; ".join(text for text in (interval(tested.get("low"), tested.get("high")), beside) if text)
        yield plain(tested["macro_f1"]), "F1 on real rows, trained on these", remark
    if is_number(cost.get("usd_per_1k_accepted")) and cost["usd_per_1k_accepted"] > 0:
        yield usd(cost["usd_per_1k_accepted"]), "per 1,000 accepted rows", f"{usd(cost.get('usd'))} in all"
    if is_number(cost.get("wall_s")):
        tokens = number((manifest.get("tokens") or {}).get("completion"))
        yield brief_seconds(cost["wall_s"]), "of wall time in the last run", f"{count(tokens)} tokens written" if tokens else ""
