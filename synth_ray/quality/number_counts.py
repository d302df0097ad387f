"""The distribution of a column's numbers in each group of rows: bins of equal ratio, in bounded memory, mergeable."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Counted = list[tuple[float, int]]
"""(value, how many), by value."""

MAX_EXACT = 512
HISTOGRAM_BINS = 24

_LOG_RATIO = math.log(1.02)
_SMALLEST, _LARGEST = 1e-9, 1e18
_BINS = math.ceil(math.log(_LARGEST / _SMALLEST) / _LOG_RATIO)
_SPAN = 2 * _BINS + 1
_PENDING = 1 << 14
_QUANTILES = {"p5": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95}


class NumberCounts:
    """Counts of numbers by cell; a cell is a whole number that says which rows they are of.

    Law: counts depend on the numbers alone, not on their order or on how they were divided; `merge` is the sum. Quantiles are
    those of the numbers themselves up to MAX_EXACT distinct ones (unless not `exact`), and of whole numbers below 50; others
    are within 1 %.
    Numbers nearer to 0 than 1e-9 count as 0, those beyond 1e18 as 1e18. NaN is a missing number.
    """

    def __init__(self, *, exact: bool = True) -> None:
        self._bins: Counter[int] = Counter()  # by cell * _SPAN + bin
        self._exact: Counter[tuple[int, float]] | None = Counter() if exact else None
        self._missing: Counter[int] = Counter()
        self._sums: dict[int, float] = {}
        self._ends: dict[int, tuple[float, float]] = {}
        self._is_whole = True
        self._pending: list[tuple[Array, Array]] = []
        self._waiting = 0

    def add(self, cells: Array, numbers: Array) -> None:
        """`cells` and `numbers` by row. They are counted together with those of other calls, which is cheaper."""
        self._pending.append((cells, numbers))
        self._waiting += len(numbers)
        if self._waiting >= _PENDING:
            self._settle()

    def _settle(self) -> None:
        if not self._pending:
            return
        cells, numbers = (np.concatenate(parts) for parts in zip(*self._pending, strict=True))
        self._pending, self._waiting = [], 0
        known = ~np.isnan(numbers)
        self._missing.update(_counted(cells[~known]))
        cells, numbers = cells[known], np.clip(numbers[known], -_LARGEST, _LARGEST)
        numbers = np.where(np.abs(numbers) < _SMALLEST, 0.0, numbers)
        self._is_whole = self._is_whole and bool((numbers == np.floor(numbers)).all())
        bins = np.bincount(cells * _SPAN + _bin_of(numbers))
        self._bins.update({code: int(bins[code]) for code in np.flatnonzero(bins).tolist()})
        for cell in np.flatnonzero(np.bincount(cells)).tolist():
            own = numbers[cells == cell]
            self._add_moments(cell, float(own.sum()), (float(own.min()), float(own.max())))
            if self._exact is not None:
                self._exact.update({(cell, value): n for value, n in _counted(own).items()})
        self._forget_exact()

    def _add_moments(self, cell: int, total: float, ends: tuple[float, float]) -> None:
        low, high = self._ends.get(cell, ends)
        self._sums[cell] = self._sums.get(cell, 0.0) + total
        self._ends[cell] = (min(low, ends[0]), max(high, ends[1]))

    def _forget_exact(self) -> None:
        if self._exact is not None and len(self._exact) > MAX_EXACT and len({value for _, value in self._exact}) > MAX_EXACT:
            self._exact = None

    def merge(self, other: NumberCounts) -> None:
        self._settle()
        other._settle()
        self._bins.update(other._bins)
        self._missing.update(other._missing)
        self._is_whole = self._is_whole and other._is_whole
        for cell, ends in other._ends.items():
            self._add_moments(cell, other._sums[cell], ends)
        if self._exact is not None and other._exact is not None:
            self._exact.update(other._exact)
            self._forget_exact()
        else:
            self._exact = None

    def counted(self, cells: Iterable[int]) -> Counted:
        """The numbers of these cells with their counts: exact, or the middle of their bins."""
        self._settle()
        wanted = set(cells)
        total: Counter[float] = Counter()
        if self._exact is not None:
            for (cell, value), n in self._exact.items():
                if cell in wanted:
                    total[value] += n
            return sorted(total.items())
        low, high = self._range(wanted)
        for code, n in self._bins.items():
            if code // _SPAN in wanted:
                total[min(max(self._middle(code % _SPAN), low), high)] += n
        return sorted(total.items())

    def _middle(self, bin: int) -> float:
        place = bin - _BINS
        size = math.exp((abs(place) - 0.5) * _LOG_RATIO) * _SMALLEST
        value = math.copysign(size, place) if place else 0.0
        return float(round(value)) if self._is_whole else value

    def _range(self, cells: Iterable[int]) -> tuple[float, float]:
        ends = [self._ends[cell] for cell in cells if cell in self._ends]
        return min((low for low, _ in ends), default=0.0), max((high for _, high in ends), default=0.0)

    def rows(self, cells: Iterable[int]) -> int:
        """How many numbers these cells have."""
        self._settle()
        wanted = set(cells)
        return sum(n for code, n in self._bins.items() if code // _SPAN in wanted)

    def stats(self, cells: Sequence[int], edges: Sequence[float]) -> dict[str, Any]:
        """Rows, missing, mean, quantiles and histogram of these cells; `edges` are `edges_of` all that are compared."""
        counted = self.counted(cells) if self.rows(cells) else []
        rows = sum(n for _, n in counted)
        stats: dict[str, Any] = {"rows": rows, "missing": sum(self._missing[cell] for cell in cells)}
        if not rows:
            return stats
        low, high = self._range(cells)
        mean = math.fsum(self._sums.get(cell, 0.0) for cell in cells) / rows
        quantiles = {name: short(quantile(counted, q)) for name, q in _QUANTILES.items()}
        stats |= {"mean": short(mean), "min": short(low)} | quantiles | {"max": short(high)}
        return stats | {"histogram": histogram(counted, edges, low=low, high=high)}


def quantile(counted: Counted, q: float) -> float:
    """The smallest value that at least a share `q` of the numbers does not exceed."""
    wanted, seen = q * sum(n for _, n in counted), 0
    for value, n in counted:
        seen += n
        if seen >= wanted:
            return value
    return counted[-1][0]


def edges_of(counted: Counted) -> list[float]:
    """Round edges of at most HISTOGRAM_BINS bins of equal width, over the middle 98 % of the numbers; [] without numbers."""
    if not counted:
        return []
    low, high = quantile(counted, 0.01), quantile(counted, 0.99)
    width = _round_width((high - low) / (HISTOGRAM_BINS - 2), whole=all(value == int(value) for value, _ in counted))
    first = math.floor(low / width)
    edges = [float(f"{(first + i) * width:.12g}") for i in range(HISTOGRAM_BINS)]
    return [edge for edge in edges if edge <= high] or [low]


def _round_width(width: float, *, whole: bool) -> float:
    """The next larger 1, 2, 2.5 or 5 times a power of ten; at least 1 for whole numbers."""
    if width <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(width))
    steps = (1, 2, 5, 10) if whole else (1, 2, 2.5, 5, 10)
    rounded = next((step * power for step in steps if step * power >= width), 10 * power)
    return max(rounded, 1.0) if whole else rounded


def histogram(counted: Counted, edges: Sequence[float], *, low: float, high: float) -> list[list[float]]:
    """[low, high, rows] of each bin from the first with rows to the last; the outer bins reach to the smallest and largest."""
    if not edges:
        return []
    values = np.array([value for value, _ in counted])
    places = np.clip(np.searchsorted(np.array(edges), values, side="right") - 1, 0, len(edges) - 1)
    rows = np.bincount(places, weights=[n for _, n in counted], minlength=len(edges)).astype(np.int64)
    first, last = int(places.min()), int(places.max())
    width = edges[1] - edges[0] if len(edges) > 1 else max(1.0, high - edges[0])
    bins = []
    for place in range(first, last + 1):
        start = min(edges[place], low) if place == first else edges[place]
        end = edges[place + 1] if place + 1 < len(edges) else max(edges[place] + width, high)
        bins.append([short(start), short(end), int(rows[place])])
    return bins


def short(value: float) -> float:
    """Six digits; a whole number as one."""
    rounded = float(f"{value:.6g}")
    return int(value) if value == int(value) else rounded


def _bin_of(numbers: Array) -> Array:
    size = np.abs(numbers)
    with np.errstate(divide="ignore"):
        place = np.floor(np.log(size / _SMALLEST) / _LOG_RATIO) + 1
    place = np.where(size < _SMALLEST, 0, np.clip(place, 1, _BINS))
    bins: Array = (np.sign(numbers) * place).astype(np.int64) + _BINS
    return bins


def _counted(values: Array) -> dict[Any, int]:
    found, counts = np.unique(values, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))
