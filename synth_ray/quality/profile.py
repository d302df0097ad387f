"""What is in each column of a dataset: lengths, numbers and values, real beside synthetic and split beside split."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synth_ray.quality.number_counts import Array, NumberCounts, edges_of
from synth_ray.quality.value_counts import MAX_CHARACTERS, OTHER, ValueCounts, Values, encode
from synth_ray.records import SPLITS, Origin

MAX_VALUES_OF_COLUMN = 2_000
TOP_VALUES = 30

_ORIGINS = (Origin.SYNTHETIC.value, Origin.REAL.value)
REFERENCE = len(_ORIGINS) * len(SPLITS)
"""The cell of real rows that are beside the dataset and not in it."""
GROUPS: dict[str, tuple[int, ...]] = {
    "synthetic": (0, 1, 2),
    "real": (3, 4, 5, REFERENCE),
    "train": (0, 3),
    "validation": (1, 4),
    "test": (2, 5),
}
_CELLS = (*range(REFERENCE), REFERENCE)
_MIN_TEXTS = 50
_MIN_SHOWN = 5
"""Rows with a text that is shown: what fewer rows have could be of one person."""


def cells_of(origins: pa.ChunkedArray, splits: pa.ChunkedArray) -> Array:
    """The cell of each row: its origin and its split."""
    origin, split = (
        np.asarray(pc.index_in(column, value_set=pa.array(names, pa.string())).fill_null(0)).astype(np.int64)
        for column, names in ((origins, _ORIGINS), (splits, SPLITS))
    )
    cells: Array = origin * len(SPLITS) + split
    return cells


class Profile:
    """The columns of a dataset's rows. Law: it depends on the rows alone, not on their order; `merge` is the sum; it has no text
    that is neither a class nor of _MIN_SHOWN rows.

    Memory is bounded: some 100 kB for a column of numbers, and the counts of MAX_VALUES_OF_COLUMN values for another.
    """

    def __init__(self) -> None:
        self._rows: Counter[int] = Counter()
        self._numbers: dict[str, tuple[str, NumberCounts]] = {}
        self._values: dict[str, ValueCounts] = {}
        self._missing: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self._classes: set[str] = set()

    def count_rows(self, cells: Array) -> None:
        self._rows.update(dict(enumerate(np.bincount(cells, minlength=len(_CELLS)).tolist())))

    def add_numbers(self, name: str, cells: Array, numbers: Array, *, unit: str = "") -> None:
        """A column of numbers, NaN where missing; with a `unit` they are lengths."""
        if name not in self._numbers:
            self._numbers[name] = (unit, NumberCounts(exact=not unit))
        self._numbers[name][1].add(cells, numbers)

    def add_values(self, name: str, cells: Array, values: Values) -> None:
        """A column of values from a closed set, null where missing."""
        self._classes.add(name)
        self._add_values(name, cells, values)

    def _add_values(self, name: str, cells: Array, values: Values) -> None:
        counts = self._values.setdefault(name, ValueCounts(MAX_VALUES_OF_COLUMN))
        encoded = values if isinstance(values, pa.DictionaryArray) else encode(values)
        counts.add_all(encoded, cells, _CELLS)
        if encoded.null_count:
            missing = np.bincount(cells[np.asarray(encoded.indices.is_null())], minlength=len(_CELLS))
            self._missing[name].update(dict(enumerate(missing.tolist())))

    def add_texts(self, name: str, cells: Array, values: Values, *, are_classes: bool = False) -> None:
        """A column of texts: profiled by its values while they repeat, and by its lengths if they do not. Of texts that are no
        classes only those that several rows have are shown.
        """
        encoded = values if isinstance(values, pa.DictionaryArray) else encode(values)
        if are_classes:
            self._classes.add(name)
        self._add_values(name, cells, encoded)
        lengths = np.append(np.asarray(pc.utf8_length(encoded.dictionary)).astype(np.float64), np.nan)
        codes = np.asarray(encoded.indices.fill_null(len(lengths) - 1))
        self.add_numbers(name, cells, lengths[codes], unit="characters")

    def merge(self, other: Profile) -> None:
        self._rows.update(other._rows)
        for name, (unit, numbers) in other._numbers.items():
            self._numbers.setdefault(name, (unit, NumberCounts(exact=not unit)))[1].merge(numbers)
        for name, values in other._values.items():
            self._values.setdefault(name, ValueCounts(MAX_VALUES_OF_COLUMN)).merge(values)
            self._missing[name].update(other._missing[name])
        self._classes |= other._classes

    def summary(self) -> dict[str, Any]:
        """The manifest's `profile`: rows by group, and for each column the statistics of each group; empty without rows."""
        groups = {group: rows for group, cells in GROUPS.items() if (rows := sum(self._rows[cell] for cell in cells))}
        columns = {name: self._column(name, groups) for name in dict.fromkeys((*self._numbers, *self._values))}
        return {"groups": groups, "columns": {name: column for name, column in columns.items() if column}} if groups else {}

    def _column(self, name: str, groups: Iterable[str]) -> dict[str, Any]:
        if name in self._values and not (name in self._numbers and self._is_free_text(name)):
            return _with_rows({group: self._category(name, GROUPS[group]) for group in groups})
        unit, numbers = self._numbers[name]
        kind = {"kind": "length", "unit": unit} if unit else {"kind": "number"}
        edges = edges_of(numbers.counted(_CELLS))
        return _with_rows({group: kind | numbers.stats(GROUPS[group], edges) for group in groups})

    def _is_free_text(self, name: str) -> bool:
        values = self._values[name]
        rows = self._numbers[name][1].rows(_CELLS)
        is_cut = any(len(value) >= MAX_CHARACTERS for value, _ in values.items())
        return (rows >= _MIN_TEXTS or name not in self._classes) and (is_cut or 2 * values.distinct > rows)

    def _category(self, name: str, cells: Sequence[int]) -> dict[str, Any]:
        own = ValueCounts(MAX_VALUES_OF_COLUMN)
        for value, counts in self._values[name].items():
            if n := sum(counts[cell] for cell in cells):
                own.add(value, "rows", n)
        may_show = self._shown_values(name)
        shown: list[list[Any]] = [[value, counts.total()] for value, counts in own.commonest(TOP_VALUES) if value in may_show]
        rest = sum(self._values[name].other[cell] for cell in cells)
        rows = sum(counts.total() for _, counts in own.items()) + rest
        stats: dict[str, Any] = {"kind": "category", "rows": rows, "missing": sum(self._missing[name][c] for c in cells)}
        distinct = round(own.distinct / self._values[name].kept_share) if rest else own.distinct
        return stats | {
            "distinct": min(rows, max(distinct, own.distinct + bool(rest))),
            "top": shown,
            "other": rows - sum(n for _, n in shown),
        }

    def _shown_values(self, name: str) -> set[str]:
        least = 1 if name in self._classes else _MIN_SHOWN
        return {value for value, counts in self._values[name].items() if counts.total() >= least and value != OTHER}


def _with_rows(groups: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Without the groups in which no row has a value."""
    return {group: stats for group, stats in groups.items() if stats["rows"]}
