"""Sections of what is counted: the funnel, its breakdown, classes, lengths and other columns, personal data, seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from synth_ray.report import charts
from synth_ray.report.blocks import MOST, SHOWN, Bar, Bars, Choice, Note, Section, Table, section
from synth_ray.report.columns import columns, similarity
from synth_ray.report.funnel import by_stage
from synth_ray.report.numerals import count, number, rows, share, short
from synth_ray.report.words import DIMENSIONS, STAGES, entity, reason_entry, reason_title, spaced, verdict_word

_LEGEND = (("accepted", "accepted"), ("rejected", "rejected"), ("failed", "failed"))

Manifest = Mapping[str, Any]


def sections(manifest: Manifest) -> Iterator[Section | None]:
    """How the requested rows ended, then what the rows hold."""
    yield section(
        "funnel",
        "Funnel",
        "Where the rows went",
        "Rows pass these stages in order. A bar is what came through. Open the sentence at a reason to see what to change.",
        [_funnel(manifest)],
    )
    yield section(
        "breakdown",
        "Breakdown",
        "The same rows, divided",
        "The requested rows by split, class, teacher or recipe, as far as they differ. Each part adds up to all of them.",
        [_breakdown(manifest) or _splits(manifest)],
    )
    yield section(
        "classes",
        "Classes",
        "Classes against the target",
        "Rows accepted in each class; the line marks how many were wanted.",
        [_target(manifest)],
    )
    yield from _contents(manifest)


def _contents(manifest: Manifest) -> Iterator[Section | None]:
    yield section(
        "lengths",
        "Lengths",
        "Lengths and other columns",
        "What the columns hold, generated rows beside real ones where there are any.",
        list(columns(manifest)),
    )
    yield section(
        "similarity",
        "Duplicates",
        "How alike the duplicates are",
        "Similarity of a duplicate to the kept row it repeats; 1 is the same text. Many just above the limit: is it too strict?",
        [similarity(manifest)],
    )
    yield section(
        "personal-data",
        "Personal data",
        "Personal data that was found",
        "Counted only: the rows were left as they are."
        if manifest.get("pii_in_place")
        else "Each was replaced before a row was stored.",
        [_pii(manifest)],
    )
    yield section("seeds", "Seeds", "Seeds and real rows", "What was read, and what of it could be used.", list(_seeds(manifest)))


def _funnel(manifest: Manifest) -> Bars | None:
    counts = manifest["rows"]
    requested = counts["requested"]
    if not requested:
        return None
    left = requested - counts.get("pending", 0)
    bars = [Bar("Requested", count(requested), charts.bar([(1.0, "neutral")]))]
    if left < requested:
        bars.append(Bar("Asked so far", _of(left, requested), charts.bar([(left / requested, "neutral")])))
    for step in by_stage(manifest):
        title, meaning = STAGES[step.stage]
        end, here = step.entered / requested, step.entered - step.left
        parts = [(step.left / requested, "accepted" if step.stage == "admit" else "neutral"), (here / requested, "lost")]
        bars.append(Bar(title, _of(step.left, requested), charts.bar(parts), meaning))
        for reason, n in step.by_reason.items():
            bars += [_reason(n, requested, reason, end)] if n else []
            end -= n / requested
    return Bars(bars, legend=(("accepted", "accepted"), ("neutral", "came through"), ("lost", "lost at this stage")), shown=MOST)


def _reason(n: int, requested: int, reason: str, end: float) -> Bar:
    """The bar of a reason ends where the rows were that it is taken from."""
    entry = reason_entry(reason)
    drawing = charts.bar([(end - n / requested, "blank"), (n / requested, verdict_word(reason))])
    meaning, advice = (entry.meaning, entry.advice) if entry else ("", "")
    return Bar(short(reason_title(reason)), _of(n, requested), drawing, meaning, code=short(reason), level=1, advice=advice)


def _of(n: float, whole: float) -> str:
    return f"{count(n)} · {share(n, whole)}"


def _breakdown(manifest: Manifest) -> Choice | None:
    options = []
    for dimension, values in (manifest.get("funnel") or {}).items():
        bars = [_divided(value, brief=n >= SHOWN) for n, value in enumerate(_merged(values))]
        if bars and (len(bars) > 1 or dimension == "split"):
            options.append((DIMENSIONS.get(dimension, spaced(dimension)), Bars(bars, _LEGEND, title=f"By {spaced(dimension)}")))
    return Choice("by", "Break down by", options) if options else None


def _merged(values: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """At most MOST values: those that are too many are one, so that the sum stays."""
    if len(values) <= MOST:
        return list(values)
    kept, others = list(values[: MOST - 1]), values[MOST - 1 :]
    lost = {key: sum((Counter(value.get(key) or {}) for value in others), Counter()) for key in ("rejected", "failed")}
    return [*kept, {"value": "(all others)", "accepted": sum(value.get("accepted", 0) for value in others)} | lost]


def _divided(value: Mapping[str, Any], *, brief: bool) -> Bar:
    lost = {verdict: value.get(verdict) or {} for verdict in ("rejected", "failed")}
    sums = {verdict: sum(reasons.values()) for verdict, reasons in lost.items()}
    accepted = value.get("accepted", 0)
    total = max(1, accepted + sum(sums.values()))
    worst = sorted(((n, reason) for reasons in lost.values() for reason, n in reasons.items() if n), key=lambda x: (-x[0], x[1]))[
        :2
    ]
    note = (
        "Most lost: " + ", ".join(f"{reason_title(reason).lower()} {count(n)}" for n, reason in worst) + "."
        if worst and not brief
        else ""
    )
    parts = [(accepted / total, "accepted"), (sums["rejected"] / total, "rejected"), (sums["failed"] / total, "failed")]
    return Bar(
        short(value.get("value", "")), f"{count(accepted)} of {count(total)} · {share(accepted, total)}", charts.bar(parts), note
    )


def _splits(manifest: Manifest) -> Bars | None:
    """For a manifest without a breakdown: rows in each split."""
    splits = manifest.get("splits") or {}
    total = sum(splits.values())
    bars = [Bar(short(name), _of(n, total), charts.bar([(n / max(1, total), "accepted")])) for name, n in splits.items()]
    return Bars(bars, title="Rows of the dataset in each split, real ones included") if bars else None


def _target(manifest: Manifest) -> Bars | None:
    target = manifest.get("target") or {}
    cells = target.get("cells") or []
    if not cells and target.get("wanted"):
        cells = [{"cell": "all rows", "wanted": target["wanted"], "accepted": target.get("accepted", 0)}]
    most = max((max(number(c.get("wanted")), number(c.get("accepted"))) for c in cells), default=0) or 1
    short_of = sorted(cells, key=lambda c: (number(c.get("accepted")) - number(c.get("wanted")), str(c.get("cell"))))
    bars = []
    for cell in short_of:
        wanted, got = number(cell.get("wanted")), number(cell.get("accepted"))
        missing = (
            f"{rows(wanted - got)} missing{'; no more were asked for, as too few came through' if cell.get('closed') else ''}."
        )
        drawing = charts.bar([(got / most, "accepted")], mark=wanted / most)
        bars.append(
            Bar(short(cell.get("cell", "")), f"{count(got)} of {count(wanted)}", drawing, missing if got < wanted else "")
        )
    return Bars(bars, (("accepted", "accepted"), ("mark", "wanted"))) if bars else None


def _pii(manifest: Manifest) -> Bars | None:
    found = sorted((manifest.get("pii") or {}).items(), key=lambda item: (-item[1], item[0]))
    most = max((n for _, n in found), default=0) or 1
    return (
        Bars([Bar(entity(name), count(n), charts.bar([(n / most, "accepted")]), code=name) for name, n in found])
        if found
        else None
    )


def _seeds(manifest: Manifest) -> Iterator[Table | Note | None]:
    seeds, mix = manifest.get("seeds") or {}, manifest.get("mix") or {}
    if seeds.get("read"):
        yield Note(f"{count(seeds['read'])} seeds read, {count(seeds.get('planned'))} of them planned.")
    at = seeds.get("rejected_at") or {}
    rejected = [
        (reason_title(r), count(n), ", ".join(at.get(r, [])) + (" …" if 0 < len(at.get(r, [])) < n else ""))
        for r, n in (seeds.get("rejected") or {}).items()
    ]
    if rejected:
        yield Table("Seeds that could not be used", ("why", "seeds", "the first of them (file:line)"), rejected, frozenset({1}))
    if mix:
        part = share(number(mix.get("synthetic_share")))
        read = count(mix.get("read"))
        yield Note(f"{count(mix.get('accepted'))} of {read} real rows were mixed in; {part} of the rows together are generated.")
