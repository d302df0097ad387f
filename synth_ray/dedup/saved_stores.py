"""Stores as bytes, for a later run: blocks of rows, then of each table, then a record that says that all is there.

Written and read block by block, so that neither the writer nor the reader holds more than one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from synth_ray.dedup import snapshot
from synth_ray.dedup.hashing import U32
from synth_ray.dedup.stores import StoredRows, Stores

_ROWS = 1 << 16
_TABLE_BYTES = 1 << 25


def write_stores(sink: snapshot.Sink, header: snapshot.Header, stores: Stores, *, tables: Collection[str]) -> None:
    """The rows, and of `tables` (names of fields of `Stores`) every pair."""
    snapshot.write(sink, {**header, "tables": sorted(tables)}, {})
    rows = stores.rows
    for start in range(0, len(rows), _ROWS):
        numbers = np.arange(start, min(start + _ROWS, len(rows)))
        compared = rows.fetch(numbers)
        block = StoredRows(rows.ids_of(numbers), rows.splits_of(numbers), *compared)
        snapshot.write(sink, {"block": "rows"}, block._asdict())
    for name in sorted(tables):
        table = getattr(stores, name)
        parts = 1 + table.nbytes // _TABLE_BYTES
        for part in range(parts):
            keys, ids = table.pairs(part, parts)
            snapshot.write(sink, {"block": name}, {"keys": keys, "ids": ids})
    snapshot.write(sink, {"block": "end", "rows": len(rows)}, {})


def read_stores(
    source: snapshot.Source, stores: Stores, *, caps: Mapping[str, int], accept: Callable[[snapshot.Header], Any]
) -> bool:
    """Add what `write_stores` wrote; its rows are numbered after those that are here. Returns whether all of it was there.

    `accept` is given the header before anything is added, and raises to refuse it. `caps` are of the tables that are wanted.
    """
    first = len(stores.rows)
    begin = snapshot.read(source)
    if begin is None:
        return False
    accept(begin[0])
    for header, arrays in snapshot.records(source):
        name = header["block"]
        if name == "end":
            return bool(first + header["rows"] == len(stores.rows))
        if name == "rows":
            stores.rows.append(StoredRows(**arrays))
        elif name in caps:
            getattr(stores, name).insert(arrays["keys"], arrays["ids"] + U32(first), cap=caps[name])
    return False
