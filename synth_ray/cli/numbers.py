"""Counts, times and money, short enough for one line."""

from __future__ import annotations


def short_count(count: float) -> str:
    """Three figures at most, as 1.31 M; whole up to 9,999."""
    if count < 10_000:
        return f"{count:,.0f}"
    for unit, size in (("k", 1e3), ("M", 1e6), ("G", 1e9)):
        if count < 999.5 * size or unit == "G":
            return f"{count / size:,.{_digits(count / size)}f} {unit}"
    raise AssertionError


def short_time(seconds: float) -> str:
    """Seconds below two minutes, minutes below two hours, then hours and days."""
    for unit, size, limit in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 48 * 3600)):
        if seconds < limit:
            return f"{seconds / size:.{1 if unit == 'h' else 0}f} {unit}"
    return f"{seconds / 86400:,.1f} days"


def short_usd(usd: float) -> str:
    """Cents from a dollar on, four figures below it."""
    return f"${usd:,.2f}" if usd >= 1 or usd == 0 else f"${usd:.4f}"


def _digits(value: float) -> int:
    return 2 if value < 9.995 else 1 if value < 99.95 else 0
