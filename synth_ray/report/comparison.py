"""Two datasets side by side: comparison.html, and the same figures as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any

from synth_ray.report import charts
from synth_ray.report.blocks import MOST, Figure, Section, Table, section
from synth_ray.report.numerals import count, is_number, number, plain, share, short, ticks
from synth_ray.report.page import render
from synth_ray.report.spent import in_units
from synth_ray.report.words import MEASURES, reason_title, spaced, unit

Manifest = Mapping[str, Any]

_PERCENTILES = (("p50", "half are below"), ("p95", "95 % are below"), ("mean", "mean"))


@dataclass(frozen=True, slots=True)
class Line:
    """One figure of both. `style` is "share", "rows", "number", or the name of a number with a unit."""

    name: str
    values: Sequence[float | None]
    style: str = "number"

    def cells(self) -> tuple[str, str, str, str]:
        ours, theirs = self.values
        return self.name, self._text(ours), self._text(theirs), self._difference(ours, theirs)

    def _text(self, value: float | None) -> str:
        if value is None:
            return "–"
        if self.style == "share":
            return share(value)
        return (
            {"rows": count, "number": plain}[self.style](value)
            if self.style in ("rows", "number")
            else in_units(self.style, value, brief=True)
        )

    def _difference(self, ours: float | None, theirs: float | None) -> str:
        if ours is None or theirs is None:
            return "–"
        difference = ours - theirs
        if not difference:
            return "same"
        if self.style == "share":
            return f"{100 * difference:+.1f} points"
        if self.style == "number":
            return f"{difference:+.3f}"
        return f"{100 * difference / theirs:+.1f} %" if theirs else "–"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The figures of two manifests in groups (id, title, lines), and why some of them may not be comparable."""

    ours: str
    theirs: str
    notes: Sequence[str]
    groups: Sequence[tuple[str, str, Sequence[Line]]]


def compare(ours: Manifest, theirs: Manifest, *, names: tuple[str, str]) -> Comparison:
    """`names` tell the two apart, as their prefixes do."""
    groups = [
        ("funnel", "Where the rows went", _funnel(ours, theirs)),
        ("splits", "Splits", _splits(ours, theirs)),
        ("classes", "Classes, as a share of the accepted rows", _classes(ours, theirs)),
        ("lengths", "Lengths of generated rows", _lengths(ours, theirs)),
        ("narrowing", "Narrowing against real rows", _narrowing(ours, theirs)),
        ("usefulness", "F1 on real rows of a classifier trained on", _usefulness(ours, theirs)),
        ("cost", "Tokens, time and money", _spent(ours, theirs)),
    ]
    present = [(id, title, lines[:MOST]) for id, title, found in groups if (lines := list(found))]
    return Comparison(*names, list(_notes(ours, theirs)), present)


def comparison_page(ours: Manifest, theirs: Manifest, *, names: tuple[str, str]) -> str:
    """The HTML page. Law: its bytes are a function of the arguments."""
    compared = compare(ours, theirs, names=names)
    drawn = {"lengths": list(_histograms(ours, theirs, names))}
    sections = [_section(compared, group, drawn.get(group[0], ())) for group in compared.groups]
    return render("comparison.html.j2", compared=compared, sections=sections, sides=[(names[0], ours), (names[1], theirs)])


def comparison_text(ours: Manifest, theirs: Manifest, *, names: tuple[str, str]) -> str:
    """The groups of a comparison for a terminal, at most 100 columns wide."""
    compared = compare(ours, theirs, names=names)
    lines = [
        f"A  {compared.ours}",
        f"B  {compared.theirs}",
        *(fill(f"note: {note}", 100, subsequent_indent="      ") for note in compared.notes),
    ]
    for _, title, figures in compared.groups:
        lines += ["", _columns(title, "A", "B", "A minus B")]
        lines += [_columns(f"  {name}", *values) for name, *values in (figure.cells() for figure in figures[:20])]
    return "\n".join(lines)


def _columns(name: str, ours: str, theirs: str, difference: str) -> str:
    return f"{short(name, 44):<44}{short(ours, 16):>16} {short(theirs, 16):>16} {short(difference, 18):>18}"


def _section(compared: Comparison, group: tuple[str, str, Sequence[Line]], figures: Sequence[Figure]) -> Section:
    id, title, lines = group
    table = Table(
        "A minus B is the difference; of shares, in percentage points",
        ("", "A", "B", "A minus B"),
        [x.cells() for x in lines],
        frozenset({1, 2, 3}),
    )
    made = section(id, title.partition(",")[0].partition(" of ")[0], title, "", [table, *figures])
    assert made is not None
    return made


def _notes(ours: Manifest, theirs: Manifest) -> Iterator[str]:
    for name, side in (("A", ours), ("B", theirs)):
        if not side.get("complete", True):
            yield f"{name} is not complete."
    for key, what in (("recipe", "recipe"), ("teacher", "teacher")):
        if ours.get(key) != theirs.get(key):
            yield f"The {what} differs: {short(ours.get(key) or 'none', 60)} and {short(theirs.get(key) or 'none', 60)}."
    if ours.get("dataset_digest") == theirs.get("dataset_digest"):
        yield "Both have the same rows."
    elif ours.get("ask_digest") == theirs.get("ask_digest"):
        yield "The same answers, decided differently."
    sources = [(side.get("reference") or {}) for side in (ours, theirs)]
    if (
        ours.get("narrowing")
        and theirs.get("narrowing")
        and any(sources[0].get(k) != sources[1].get(k) for k in ("source", "rows", "vectors"))
    ):
        yield "Narrowing was measured against other real rows or by other vectors, so its figures are not comparable."
    tests = [(side.get("tstr") or {}).get("test_rows") for side in (ours, theirs)]
    if all(tests) and tests[0] != tests[1]:
        yield "The classifiers were tested on other real rows, so F1 is not comparable."


def _funnel(ours: Manifest, theirs: Manifest) -> Iterator[Line]:
    both = (ours["rows"], theirs["rows"])
    yield Line("requested", [side["requested"] for side in both], "rows")
    yield Line("accepted", [side["accepted"] for side in both], "rows")
    whole = [max(1, side["requested"]) for side in both]
    yield Line("share accepted", [side["accepted"] / n for side, n in zip(both, whole, strict=True)], "share")
    for verdict in ("rejected", "failed"):
        lost = [side.get(verdict) or {} for side in both]
        shares = [{reason: n / whole[k] for reason, n in side.items()} for k, side in enumerate(lost)]
        for reason in sorted({*shares[0], *shares[1]}, key=lambda r: (-max(s.get(r, 0) for s in shares), r)):
            yield Line(f"{verdict}: {reason_title(reason).lower()}", [side.get(reason, 0.0) for side in shares], "share")


def _splits(ours: Manifest, theirs: Manifest) -> Iterator[Line]:
    both = [side.get("splits") or {} for side in (ours, theirs)]
    for name in dict.fromkeys([*both[0], *both[1]]):
        yield Line(name, [side.get(name, 0) for side in both], "rows")


def _classes(ours: Manifest, theirs: Manifest) -> Iterator[Line]:
    both = [
        {v.get("value", ""): v.get("accepted", 0) for v in (side.get("funnel") or {}).get("class") or ()}
        for side in (ours, theirs)
    ]
    if not all(both) or max(map(len, both)) < 2:
        return
    whole = [max(1, sum(side.values())) for side in both]
    shares = [{name: n / whole[k] for name, n in side.items()} for k, side in enumerate(both)]
    for name in sorted({*shares[0], *shares[1]}, key=lambda c: (-abs(shares[0].get(c, 0) - shares[1].get(c, 0)), c)):
        yield Line(short(name), [side.get(name, 0.0) for side in shares], "share")


def _profiled(side: Manifest) -> dict[str, Mapping[str, Any]]:
    columns = (side.get("profile") or {}).get("columns") or {}
    stats = {name: groups.get("synthetic") or {} for name, groups in columns.items()}
    return {name: s for name, s in stats.items() if s.get("kind") == "length"}


def _lengths(ours: Manifest, theirs: Manifest) -> Iterator[Line]:
    both = [_profiled(side) for side in (ours, theirs)]
    for name in (name for name in both[0] if name in both[1]):
        if both[0][name].get("unit") == both[1][name].get("unit"):
            for key, word in _PERCENTILES:
                yield Line(
                    f"{short(spaced(name), 40)} in {both[0][name].get('unit')}: {word}",
                    [_number(side[name], key) for side in both],
                )


def _narrowing(ours: Manifest, theirs: Manifest) -> Iterator[Line]:
    both = [side.get("narrowing") or {} for side in (ours, theirs)]
    for name in dict.fromkeys([*both[0], *both[1]]) if all(both) else ():
        yield Line(MEASURES.get(name, short(spaced(name))), [_number(side.get(name), "value") for side in both])


def _usefulness(ours: Manifest, theirs: Manifest) -> Iterator[Line]:
    both = [side.get("tstr") or {} for side in (ours, theirs)]
    yield from _known(Line("generated rows", [_number(side, "macro_f1") for side in both]))
    for name, label in (("real", "real rows"), ("both", "both together")):
        yield from _known(Line(label, [_number(side.get(name), "macro_f1") for side in both]))


def _spent(ours: Manifest, theirs: Manifest) -> Iterator[Line]:
    both = (ours, theirs)
    for name in ("prompt", "completion", "cached"):
        yield from _known(Line(unit(name), [_number(side.get("tokens"), name) for side in both], "rows"))
    for name in ("usd", "usd_per_1k_accepted", "usd_per_1m_output_tokens", "wall_s", "replica_s"):
        yield from _known(Line(unit(name), [_number(side.get("cost"), name) for side in both], name))
    rates = [_number((side.get("throughput") or {}).get("tokens_s"), "completion") for side in both]
    yield from _known(Line("tokens written per second", rates, "rows"))


def _known(line: Line) -> Iterator[Line]:
    """The line, unless both lack it or both have nothing of it."""
    if any(line.values):
        yield line


def _number(of: Any, name: str) -> float | None:
    value = of.get(name) if isinstance(of, Mapping) else None
    return value if is_number(value) else None


def _histograms(ours: Manifest, theirs: Manifest, names: tuple[str, str]) -> Iterator[Figure]:
    both = [_profiled(side) for side in (ours, theirs)]
    for name in list(both[0])[:8]:
        pair = [side.get(name) or {} for side in both]
        if not all(stats.get("histogram") for stats in pair) or pair[0].get("unit") != pair[1].get("unit"):
            continue
        bins = [
            [(number(a), number(b), number(n) / max(1, number(stats.get("rows")))) for a, b, n in stats["histogram"]]
            for stats in pair
        ]
        low, high = min(side[0][0] for side in bins), max(side[-1][1] for side in bins)
        title = f"{short(spaced(name), 40).capitalize()} in {pair[0].get('unit')}"
        rows = [(word, *(plain(stats.get(key)) for stats in pair)) for key, word in _PERCENTILES]
        svg = charts.histogram(
            [("ours", bins[0]), ("theirs", bins[1])],
            low=low,
            high=high,
            title=title,
            about=f"A beside B, {plain(low)} to {plain(high)}.",
        )
        legend = (("ours", f"A: {short(names[0], 60)}"), ("theirs", f"B: {short(names[1], 60)}"))
        yield Figure(
            title,
            svg,
            ticks(low, high),
            str(pair[0].get("unit")),
            "more rows ↑",
            Table(title, ("", "A", "B"), rows, frozenset({1, 2})),
            legend,
        )
