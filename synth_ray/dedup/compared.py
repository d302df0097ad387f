"""The text by which rows are compared: the columns that recipe or job name, without the constants of a template."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from synth_ray.dedup.normalise import FIELD
from synth_ray.records import fields_of


def compared_text(table: pa.Table, names: Sequence[str], *, mask: Sequence[str] = ()) -> pa.ChunkedArray:
    """The compared columns of each row as one text. A name that is no column is looked up in the row's fields. What the model
    thought, `reasoning`, is compared only where it is named.

    `mask`: constant texts of a template. Every row has them, so they say nothing about similarity and are left out.
    """
    columns = [pc.fill_null(_column(table, name), "") for name in names]
    for constant in sorted(mask, key=lambda constant: (-len(constant), constant)):
        columns = [pc.replace_substring(column, constant, " ") for column in columns]
    return pc.binary_join_element_wise(*columns, FIELD) if len(columns) > 1 else columns[0]


def _column(table: pa.Table, name: str) -> pa.Array | pa.ChunkedArray:
    if name in ("prompt", "completion"):
        return table[name]
    if name == "reasoning" and table[name].null_count < table.num_rows:
        return pc.coalesce(table[name], _field(table, name))
    return _field(table, name)


def _field(table: pa.Table, name: str) -> pa.Array:
    return pa.array([str(row.get(name, "")) for row in fields_of(table)], pa.string())
