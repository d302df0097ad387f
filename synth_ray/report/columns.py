"""Charts of a dataset's columns: lengths, numbers and categories, generated rows beside real ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from synth_ray.report import charts
from synth_ray.report.blocks import Bar, Bars, Choice, Figure, Table
from synth_ray.report.numerals import count, is_number, number, plain, share, short, ticks
from synth_ray.report.words import GROUPS, spaced

Manifest = Mapping[str, Any]

_SIMILARITY = "similarity"


def columns(manifest: Manifest) -> Iterator[Figure | Bars | Choice]:
    """A chart of each profiled column, those of one kind as a choice."""
    profiled = (manifest.get("profile") or {}).get("columns") or {}
    for kind, label in (("length", "Lengths of"), ("number", "Numbers in"), ("category", "Values of")):
        options = []
        for name, groups in profiled.items():
            ours, theirs = groups.get("synthetic") or groups.get("train") or {}, groups.get("real") or {}
            if (ours or theirs).get("kind") == kind and name != _SIMILARITY:
                drawn = _categories(name, ours, theirs) if kind == "category" else _histogram(name, ours, theirs, groups)
                options += [(short(spaced(name), 40), drawn)] if drawn is not None else []
        if options:
            yield options[0][1] if len(options) == 1 else Choice(f"columns-{kind}", label, options[:40])


def similarity(manifest: Manifest) -> Figure | None:
    """How alike the duplicates are, where that was kept."""
    groups = ((manifest.get("profile") or {}).get("columns") or {}).get(_SIMILARITY) or {}
    return _histogram(_SIMILARITY, groups.get("synthetic") or {}, {}, groups)


def _histogram(name: str, ours: Mapping[str, Any], theirs: Mapping[str, Any], groups: Mapping[str, Any]) -> Figure | None:
    sides = [(colour, _shares(stats)) for colour, stats in (("ours", ours), ("theirs", theirs)) if stats.get("histogram")]
    if not sides or all(is_number(stats.get("min")) and stats["min"] == stats.get("max") for stats in (ours, theirs) if stats):
        return None  # nothing to draw, or one value in all rows
    low, high, beyond = _axis([ours, theirs])
    unit = ours.get("unit") or theirs.get("unit") or ""
    title = short(spaced(name), 40).capitalize() + (f" in {unit}" if unit and unit not in spaced(name) else "")
    about = "; ".join(
        f"{GROUPS[group]}: half of them between {plain(s.get('p25'))} and {plain(s.get('p75'))}"
        for group, s in (("synthetic", ours), ("real", theirs))
        if s
    )
    note = f"Not drawn: the longest, beyond {plain(high)} (at most {plain(beyond)})." if beyond > high else ""
    return Figure(
        title=title,
        svg=charts.histogram(sides, low=low, high=high, title=title, about=about),
        x=ticks(low, high),
        x_name=unit or short(spaced(name), 40),
        top="more rows ↑",
        table=_percentiles(title, groups),
        legend=[(colour, GROUPS["synthetic" if colour == "ours" else "real"]) for colour, _ in sides],
        note=note,
    )


def _shares(stats: Mapping[str, Any]) -> list[tuple[float, float, float]]:
    bins = [(number(a), number(b), number(n)) for a, b, n in stats["histogram"]]
    total = sum(n for _, _, n in bins) or 1
    return [(a, b if b > a else a + 1, n / total) for a, b, n in bins]


def _axis(sides: Sequence[Mapping[str, Any]]) -> tuple[float, float, float]:
    """Both ends of the axis, and the largest value: a few rows that are far longer than the others do not squeeze them."""
    bins = [(number(a), number(b)) for stats in sides for a, b, _ in stats.get("histogram") or ()]
    largest = max(b for _, b in bins)
    low = min(a for a, _ in bins)
    common = max((number(stats.get("p95")) for stats in sides if stats), default=largest)
    high = min(largest, low + 1.6 * (common - low))
    return low, high if high > low else low + 1, largest


def _percentiles(title: str, groups: Mapping[str, Any]) -> Table:
    names = ("rows", "min", "p5", "p25", "p50", "p75", "p95", "max", "mean")
    head = ("", "rows", "least", "5 %", "25 %", "half", "75 %", "95 %", "most", "mean")
    body = [(GROUPS.get(group, group), *(plain(stats.get(name)) for name in names)) for group, stats in groups.items()]
    return Table(f"{title}: the value that so many of the rows keep below", head, body, frozenset(range(1, 10)))


def _categories(name: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Bars | None:
    tops = [{str(value): number(n) for value, n in stats.get("top") or ()} for stats in (ours, theirs)]
    totals = [max(1.0, sum(top.values()) + number(stats.get("other"))) for top, stats in zip(tops, (ours, theirs), strict=True)]
    values = list(dict.fromkeys([*tops[0], *tops[1]]))
    most = max((n / total for top, total in zip(tops, totals, strict=True) for n in top.values()), default=0) or 1
    bars = []
    for value in values:
        mine, real = (top.get(value, 0) / total for top, total in zip(tops, totals, strict=True))
        drawing = charts.pair(mine / most, real / most) if theirs else charts.bar([(mine / most, "ours")])
        bars.append(
            Bar(
                short(value),
                f"{share(mine)} · real {share(real)}" if theirs else f"{count(tops[0].get(value, 0))} · {share(mine)}",
                drawing,
            )
        )
    legend = (("ours", "generated rows"), ("theirs", "real rows")) if theirs else ()
    title = f"Values of {short(spaced(name), 40)}: {count(max(ours.get('distinct', 0), len(tops[0])))} different ones"
    return Bars(bars, legend, title=title) if bars else None
