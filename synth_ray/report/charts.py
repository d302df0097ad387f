"""Charts as SVG, a function of their numbers alone.

An SVG here has shapes and no text: it is stretched to the width there is, and the text beside it is HTML, which keeps its size.
Lengths are in hundredths of the width or height. Colours are classes of the style sheet. A plot that stands for itself has a
title and a description; a bar beside its own figures is hidden from screen readers, which read the figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from synth_ray.report.numerals import is_number

Part = tuple[float, str]
"""A share of the width from 0 to 1, and the class that colours it."""
Series = tuple[str, Sequence[tuple[float, float]]]
"""The class of a line, and its points."""

_TITLED = Markup(
    '<svg class="{}" viewBox="0 0 100 100" preserveAspectRatio="none" role="img"><title>{}</title><desc>{}</desc>{}</svg>'
)
_SILENT = Markup('<svg class="{}" viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true" focusable="false">{}</svg>')
_RECT = Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>')
_LINE = Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>')
_PATH = Markup('<path class="{}" d="{}"/>')


def _n(value: float) -> str:
    """A coordinate: two decimals, and always a number."""
    return f"{value if is_number(value) else 0:.2f}".rstrip("0").rstrip(".")


def _join(shapes: Iterable[Markup]) -> Markup:
    return Markup("").join(shapes)


def _clamp(value: float) -> float:
    return min(1.0, max(0.0, value)) if is_number(value) else 0.0


def bar(parts: Sequence[Part], *, mark: float | None = None) -> Markup:
    """Parts side by side on a track, and a mark where something was wanted. A part that is not 0 can be seen."""
    shapes, at = [_RECT.format("track", 0, 20, 100, 60)], 0.0
    for part, colour in parts:
        width = min(100 - at, max(0.4, 100 * _clamp(part))) if part > 0 else 0.0
        if width > 0:
            shapes.append(_RECT.format(colour, _n(at), 20, _n(width), 60))
        at += width
    if mark is not None:
        shapes.append(_RECT.format("mark", _n(min(99.5, 100 * _clamp(mark))), 0, "0.5", 100))
    return _SILENT.format("bar", _join(shapes))


def pair(ours: float, theirs: float) -> Markup:
    """Two shares, one above the other."""
    shapes = [_RECT.format("track", 0, 0, 100, 100)]
    for share, top, colour in ((ours, 8, "ours"), (theirs, 56, "theirs")):
        if share > 0:
            shapes.append(_RECT.format(colour, 0, top, _n(max(0.4, 100 * _clamp(share))), 36))
    return _SILENT.format("bar pair", _join(shapes))


def histogram(
    groups: Sequence[tuple[str, Sequence[Sequence[float]]]], *, low: float, high: float, title: str, about: str
) -> Markup:
    """Densities of groups of bins (low, high, share) between `low` and `high`; the first is filled, the others are outlines."""
    span = high - low or 1.0
    heights = [[(a, b, part / max(b - a, 1e-9)) for a, b, part in bins] for _, bins in groups]
    top = max((height for bins in heights for a, _, height in bins if a < high), default=0.0) or 1.0
    shapes = [_LINE.format("axis", 0, 100, 100, 100)]
    for number, ((colour, _), bins) in enumerate(zip(groups, heights, strict=True)):
        corners, end = "", None
        for a, b, height in bins:
            left, right = 100 * _clamp((a - low) / span), 100 * _clamp((b - low) / span)
            y = 100 - 96 * height / top
            corners += f"{'M' if end is None else 'L'}{_n(left)} {'100' if end is None else _n(y)}" if end is None else ""
            corners += f"L{_n(left)} {_n(y)}L{_n(right)} {_n(y)}"
            end = right
        if end is not None:
            path = f"{corners}L{_n(end)} 100" + ("Z" if number == 0 else "")
            shapes.append(_PATH.format(f"{colour} {'filled' if number == 0 else 'outline'}", path))
    return _TITLED.format("plot", title, about, _join(shapes))


def lines(series: Sequence[Series], *, title: str, about: str, area: bool = False) -> Markup:
    """Lines over a common x, from 0 up; the first is filled below where `area` is set."""
    points = [point for _, line in series for point in line if is_number(point[0]) and is_number(point[1])]
    low, high = min((x for x, _ in points), default=0.0), max((x for x, _ in points), default=1.0)
    top = max((y for _, y in points), default=0.0) or 1.0
    shapes = [_LINE.format("grid", 0, y, 100, y) for y in (4, 52)] + [_LINE.format("axis", 0, 100, 100, 100)]
    for number, (colour, line) in enumerate(series):
        placed = [
            f"{_n(100 * (x - low) / ((high - low) or 1))} {_n(100 - 96 * max(0.0, y) / top)}"
            for x, y in line
            if is_number(x) and is_number(y)
        ]
        if not placed:
            continue
        path = "M" + "L".join(placed)
        if area and number == 0:
            first, last = placed[0].split()[0], placed[-1].split()[0]
            shapes.append(_PATH.format(f"{colour} under", f"{path}L{last} 100L{first} 100Z"))
        shapes.append(_PATH.format(f"{colour} line", path))
    return _TITLED.format("plot", title, about, _join(shapes))


def scale(
    value: float, ends: tuple[float, float], limits: tuple[float | None, float | None], *, span: tuple[float, float], text: str
) -> Markup:
    """A value and its interval on a scale, the stretch beyond the warning line and beyond the failing line behind it.

    `limits` are (warn, fail): whichever of them is larger tells which side is the bad one.
    """
    left, right = span

    def at(x: float) -> float:
        return 100 * _clamp((x - left) / ((right - left) or 1.0))

    shapes = [_RECT.format("track", 0, 30, 100, 40)]
    warn, fail = limits
    if warn is not None and fail is not None:
        zones = ((at(warn), at(fail)), (at(fail), 100.0)) if fail > warn else ((at(fail), at(warn)), (0.0, at(fail)))
        for (start, end), colour in zip(zones, ("zone-warn", "zone-fail"), strict=True):
            shapes.append(_RECT.format(colour, _n(start), 30, _n(max(0.0, end - start)), 40))
    low, high = at(ends[0]), at(ends[1])
    shapes.append(_RECT.format("whisker", _n(low), 45, _n(max(0.3, high - low)), 10))
    shapes.append(_RECT.format("dot", _n(max(0.0, at(value) - 0.5)), 10, 1, 80))
    return _TITLED.format("scale", text, text, _join(shapes))
