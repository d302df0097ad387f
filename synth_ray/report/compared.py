"""Sections that compare generated rows with real ones: narrowing, usefulness for training, perplexity."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from synth_ray.report import charts
from synth_ray.report.blocks import MOST, Figure, Note, Scale, Scales, Section, Status, Table, section
from synth_ray.report.numerals import count, interval, is_number, number, plain, rows, short
from synth_ray.report.words import MEASURES, reference, spaced

Manifest = Mapping[str, Any]

_VERDICTS = {"ok": "within the limits", "warn": "past the warning line", "fail": "past the failing line"}
_SIDES = (
    ("synthetic", "generated rows alone"),
    ("real", "real rows alone"),
    ("both", "both together"),
    ("baseline", "always the commonest class"),
)


def sections(manifest: Manifest) -> Iterator[Section | None]:
    yield section(
        "narrowing",
        "Narrowing",
        "Are the rows narrower than real ones?",
        "Rows that repeat a few patterns look fine one by one. These measures compare all of them with real ones.",
        list(_narrowing(manifest)),
    )
    yield section(
        "usefulness",
        "Usefulness",
        "Does training on it help?",
        "A standard classifier, trained on these rows and tested on real rows that it never saw; an F1 of 1 has no error.",
        list(_usefulness(manifest)),
    )
    yield section(
        "perplexity",
        "Perplexity",
        "How well each side predicts the other",
        "Perplexity: how surprised a small word model is by text. Lower is better; equal numbers mean alike text.",
        list(_perplexity(manifest)),
    )


def _narrowing(manifest: Manifest) -> Iterator[Note | Scales | None]:
    of, measured = manifest.get("reference") or {}, manifest.get("narrowing") or {}
    if of.get("source") and (measured or of.get("not_measured")):
        vectors = of.get("vectors")
        by = (
            f" Meanings are compared by {'the words that rows share' if vectors == 'words' else f'the model {vectors}'}."
            if vectors
            else ""
        )
        yield Note(
            f"Compared: {rows(of.get('generated'))} of this dataset with {rows(of.get('rows'))}: {reference(of['source'])}.{by}"
        )
    if of.get("not_measured") and not measured:
        yield Note(f"Not measured: {of['not_measured']}")
    scales = [_scale(name, m) for name, m in list(measured.items())[:40] if isinstance(m, Mapping) and is_number(m.get("value"))]
    if scales:
        legend = (("dot", "value"), ("whisker", "95 % interval"), ("zone-warn", "warning"), ("zone-fail", "failing"))
        yield Scales(scales, legend)


def _scale(name: str, m: Mapping[str, Any]) -> Scale:
    title = MEASURES.get(name, spaced(name).capitalize())
    value, warn, fail = m["value"], m.get("warn"), m.get("fail")
    ends = (number(m.get("low", value)), number(m.get("high", value)))
    limits = (warn, fail) if is_number(warn) and is_number(fail) else (None, None)
    low, high = _span([value, *ends, *(x for x in limits if x is not None)], limits)
    level = m.get("verdict", "ok")
    said = _VERDICTS.get(level, level)
    direction = "under" if limits[0] is not None and limits[1] is not None and limits[1] < limits[0] else "over"
    stated = f"warns {direction} {plain(warn)}, fails {direction} {plain(fail)}" if limits[0] is not None else ""
    text = f"{title}: {plain(value)}, {said}; 95 % interval {interval(*ends)}; {stated}"
    svg = charts.scale(value, ends, limits, span=(low, high), text=text)
    status = Status(level if level in _VERDICTS else "ok", said)
    return Scale(
        title,
        plain(value),
        interval(*ends),
        stated,
        status,
        m.get("meaning") or "",
        svg,
        plain(round(low, 3)),
        plain(round(high, 3)),
    )


def _span(values: Sequence[float], limits: tuple[Any, Any]) -> tuple[float, float]:
    """A scale that holds the measured value, which comes first, its interval, both limits, and the value of rows that are like
    real ones: 1, or 0. It begins at 0 where the value is not below, whatever its interval.
    """
    warn, fail = limits
    like_real = 1.0 if warn is not None and (fail < warn or warn >= 1) else 0.0
    low, high = min(*values, like_real), max(*values, like_real)
    room = 0.08 * ((high - low) or 1.0)
    return (low - room if values[0] < 0 else max(0.0, low - room)), high + room


def _usefulness(manifest: Manifest) -> Iterator[Note | Scales | Figure | Table | None]:
    tested = manifest.get("tstr") or {}
    if tested.get("not_measured"):
        yield Note(f"Not measured: {tested['not_measured']}")
    if not is_number(tested.get("macro_f1")):
        return
    sides = {"synthetic": tested} | {name: tested[name] for name, _ in _SIDES[1:] if tested.get(name)}
    yield Scales([_f1(label, sides[name], name == "synthetic") for name, label in _SIDES if name in sides], ())
    yield Note(
        f"Tested on {count(tested.get('test_rows'))} real rows. Where two intervals overlap, the difference may be chance."
    )
    yield _curve(tested)
    yield _by_class(tested)


def _f1(label: str, side: Mapping[str, Any], is_ours: bool) -> Scale:
    value = number(side.get("macro_f1", side.get("value")))
    ends = (number(side.get("low", value)), number(side.get("high", value)))
    text = f"Trained on {label}: F1 {plain(value)}, 95 % interval {interval(*ends)}"
    svg = charts.scale(value, ends, (None, None), span=(0.0, 1.0), text=text)
    trained = f"{rows(side['train_rows'])} to learn from" if is_number(side.get("train_rows")) else ""
    known = is_number(side.get("low")) and is_number(side.get("high"))
    return Scale(label.capitalize(), plain(value), interval(*ends) if known else "", trained, Status("", ""), "", svg, "0", "1")


def _curve(tested: Mapping[str, Any]) -> Figure | None:
    points = [point for point in tested.get("curve") or () if is_number(point.get("train_rows"))]
    if len(points) < 2:
        return None
    series = [
        (colour, [(math.log(max(1, point["train_rows"])), point[key]) for point in points if is_number(point.get(key))])
        for colour, key in (("ours", "synthetic"), ("theirs", "real"))
    ]
    title = "F1 by the number of rows to learn from"
    body = [(count(p["train_rows"]), plain(p.get("synthetic")), plain(p.get("real"))) for p in points]
    low, high = min(p["train_rows"] for p in points), max(p["train_rows"] for p in points)
    top = max(y for _, line in series for _, y in line) if any(line for _, line in series) else 1.0
    return Figure(
        title=title,
        svg=charts.lines(series, title=title, about=f"From {count(low)} to {count(high)} rows, generated beside real ones."),
        x=[count(low), count(math.sqrt(low * high)), count(high)],
        x_name="rows to learn from (each step to the right multiplies them)",
        top=plain(round(top, 2)),
        table=Table(title, ("rows", "generated", "real"), body, frozenset({0, 1, 2})),
        legend=(("ours", "generated rows"), ("theirs", "real rows")),
        note="Still rising at its end: more rows would help. Flat: they would not.",
    )


def _by_class(tested: Mapping[str, Any]) -> Table | None:
    classes = sorted(tested.get("classes") or (), key=lambda c: (number(c.get("f1")), str(c.get("class"))))
    body = [
        (
            short(c.get("class", ""), 60),
            plain(c.get("f1")),
            interval(c.get("low"), c.get("high")) or "–",
            plain(c.get("f1_real")),
            plain(c.get("rows_test")),
        )
        for c in classes[:MOST]
    ]
    head = ("class", "F1", "95 % interval", "F1 of real rows", "rows tested")
    return Table("By class, the weakest first", head, body, frozenset({1, 2, 3, 4})) if body else None


_PERPLEXITIES = (
    ("real_by_real", "real text, learned from real text", "the best that can be reached"),
    (
        "real_by_synthetic",
        "real text, learned from generated text",
        "far above the line before: the rows lack what real text has",
    ),
    ("synthetic_by_synthetic", "generated text, learned from generated text", "far below real by real: the rows are more alike"),
    ("synthetic_by_real", "generated text, learned from real text", "very high: the rows have what real text never has"),
)


def _perplexity(manifest: Manifest) -> Iterator[Note | Table | None]:
    measured = manifest.get("perplexity") or {}
    if measured.get("not_measured"):
        yield Note(f"Not measured: {measured['not_measured']}")
    body = [
        (label, plain(side.get("value")), interval(side.get("low"), side.get("high")) or "–", meaning)
        for name, label, meaning in _PERPLEXITIES
        if is_number((side := measured.get(name) or {}).get("value"))
    ]
    if body:
        yield Table(
            f"Perplexity {measured.get('unit', 'per word')}",
            ("", "value", "95 % interval", "how to read it"),
            body,
            frozenset({1, 2}),
        )
    if is_number(measured.get("ratio")):
        yield Note(f"Real text surprises a model of generated text {plain(measured['ratio'])} times as much as one of real text.")
