"""Numbers as people read them: thousands apart, shares in per cent, seconds in minutes and hours."""

from __future__ import annotations

import math
from typing import Any, TypeGuard


def is_number(value: Any) -> TypeGuard[float]:
    """Whether it is a finite number; True and False are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def number(value: Any) -> float:
    """The value, or 0 where it is no finite number."""
    return value if is_number(value) else 0.0


def count(value: Any) -> str:
    """A whole number, thousands apart."""
    return f"{round(number(value)):,}"


def rows(value: Any) -> str:
    return f"{count(value)} row" if round(number(value)) == 1 else f"{count(value)} rows"


def share(part: float, whole: float = 1.0) -> str:
    """A part of a whole, in per cent. What is there but tiny is never called 0 %, and what is not all never 100 %."""
    percent = 100 * part / whole if whole else 0.0
    if 0 < percent < 0.05:
        return "< 0.1 %"
    if 99.95 <= percent < 100:
        return "> 99.9 %"
    return f"{percent:.1f} %"


def plain(value: Any) -> str:
    """A number with as many digits as matter; anything else as text, "–" where there is nothing."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, (int, float)):
        return str(value)
    if not math.isfinite(value):
        return "–"
    if abs(value) >= 1e15:
        return f"{value:.3g}"
    if isinstance(value, int) or float(value).is_integer():
        return f"{int(value):,}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.1f}"
    return f"{value:.3f}".rstrip("0").rstrip(".") if abs(value) >= 0.001 else f"{value:.2g}"


def interval(low: Any, high: Any) -> str:
    """The two ends of an interval; empty where one is missing."""
    return f"{plain(low)} to {plain(high)}" if is_number(low) and is_number(high) else ""


def seconds(value: Any) -> str:
    """A length of time: "7.2 seconds", "5 minutes 12 seconds", "3 hours 5 minutes"."""
    total = number(value)
    if total < 60:
        return f"{plain(round(total, 1))} seconds"
    minutes, rest = divmod(round(total), 60)
    if minutes < 60:
        return _parts(minutes, "minute", rest, "second")
    hours, minutes = divmod(minutes, 60)
    return _parts(hours, "hour", minutes, "minute")


def brief_seconds(value: Any) -> str:
    """A length of time in units written short: "7.2 s", "5 min 12 s", "3 h 5 min"."""
    words = {" minutes": " min", " minute": " min", " seconds": " s", " second": " s", " hours": " h", " hour": " h"}
    text = seconds(value)
    for long, short_unit in words.items():
        text = text.replace(long, short_unit)
    return text


def ticks(low: float, high: float, parts: int = 4) -> list[str]:
    """Evenly spaced numbers from `low` to `high`, with as many decimals as tell them apart."""
    step = (high - low) / parts
    decimals = max(0, 1 - math.floor(math.log10(step))) if 0 < step < 2 else 0
    texts = [f"{low + step * n:,.{decimals}f}" for n in range(parts + 1)]
    return [text.rstrip("0").rstrip(".") if decimals else text for text in texts]


def _parts(large: int, large_unit: str, small: int, small_unit: str) -> str:
    parts = [(large, large_unit), (small, small_unit)]
    return " ".join(f"{n:,} {unit}{'' if n == 1 else 's'}" for n, unit in parts if n)


def usd(value: Any) -> str:
    """Dollars: cents, and of less than ten cents the first two digits."""
    amount = number(value)
    return f"${amount:,.2f}" if amount == 0 or abs(amount) >= 0.1 else f"${amount:.{1 - math.floor(math.log10(abs(amount)))}f}"


def size(value: Any) -> str:
    """Bytes in a unit that fits."""
    amount = number(value)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "bytes" or amount >= 100 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:,.1f} TB"


def short(text: Any, most: int = 80) -> str:
    """The text, cut where it is longer than `most` characters."""
    whole = str(text)
    return whole if len(whole) <= most else whole[: most - 1].rstrip() + "…"
