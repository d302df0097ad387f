"""What there is to choose from: the values of columns with few, and the range of those with numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from synth_ray.records import Verdict
from synth_ray.view.parts import READ, Parts, addresses
from synth_ray.view.query import BOOL, NUMBER, TEXT, Source, quoted

MOST_VALUES = 200
"""A column with more values than this is none to choose from."""

NOT_A_CHOICE = frozenset(
    {"id", "prompt", "completion", "fields", "seed", "lineage", "prompt_digest", "ask_digest", "detail", "witness"}
)
_OF_A_TEACHER = frozenset({"teacher", "revision", "recipe", "finish_reason"})
"""Columns that are empty for real rows: with one value beside that they say no more than `origin`."""

_SAMPLE_ROWS = 20_000
_LONGEST_VALUE = 80


def choices(parts: Parts) -> dict[str, list[tuple[str | None, int]]]:
    """By column: its values with their rows, the most frequent first, of text and boolean columns with few values."""
    found = {}
    for name, kind in parts.kinds.items():
        if kind in (TEXT, BOOL) and name not in NOT_A_CHOICE:
            counts = _counts(parts, name)
            if len(counts) > 1 and (name not in _OF_A_TEACHER or len(counts.keys() - {None, ""}) > 1):
                found[name] = sorted(counts.items(), key=lambda one: (-one[1], str(one[0])))
    return found


def ranges(parts: Parts) -> dict[str, tuple[float, float]]:
    """By column of numbers: its least and its greatest finite value. Columns without any are left out."""
    found: dict[str, tuple[float, float]] = {}
    for source in parts.sources:
        for name, low, high in _bounds(parts, source):
            before = found.get(name, (low, high))
            found[name] = (min(low, before[0]), max(high, before[1]))
    return found


def _counts(parts: Parts, name: str) -> dict[str | None, int]:
    """Empty for a column that is none to choose from."""
    counts: dict[str | None, int] = {}
    for source in parts.sources:
        for value, rows in _values(parts, source, name):
            counts[value] = counts.get(value, 0) + rows
            if len(counts) > MOST_VALUES or len(value or "") > _LONGEST_VALUE:
                return {}
    return {value: rows for value, rows in counts.items() if rows}


def _values(parts: Parts, source: Source, name: str) -> Iterator[tuple[str | None, int]]:
    if source.accepted and name in ("split", "verdict"):
        for file in source.files:
            yield (file.split if name == "split" else Verdict.ACCEPTED.value), file.rows
    elif name not in source.columns:
        yield None, source.rows
    else:
        yield from _read_values(parts, source, f"CAST({quoted(name)} AS VARCHAR)")


def _read_values(parts: Parts, source: Source, column: str) -> list[tuple[str | None, int]]:
    """Values of the first rows alone where these are too many already: counting all would take long, for nothing."""
    files = [addresses(source.files)]
    sample = f"SELECT {column} AS value FROM {READ} LIMIT {_SAMPLE_ROWS}"
    few = parts.fetch(f"SELECT DISTINCT value FROM ({sample}) LIMIT {MOST_VALUES + 1}", files)
    if len(few) > MOST_VALUES:
        return [(value, 0) for (value,) in few]
    counted: list[Any] = parts.fetch(
        f"SELECT {column} AS value, count(*) FROM {READ} GROUP BY value LIMIT {MOST_VALUES + 1}", files
    )
    return counted


def _bounds(parts: Parts, source: Source) -> Iterator[tuple[str, float, float]]:
    names = [name for name, kind in source.columns.items() if kind == NUMBER]
    if not names:
        return
    numbers = [f"CAST({quoted(name)} AS DOUBLE)" for name in names]
    columns = ", ".join(f"{best}({n}) FILTER (isfinite({n}))" for n in numbers for best in ("min", "max"))
    [values] = parts.fetch(f"SELECT {columns} FROM {READ}", [addresses(source.files)])
    for name, low, high in zip(names, values[::2], values[1::2], strict=True):
        if low is not None:
            yield name, low, high
