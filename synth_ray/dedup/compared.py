"""Which text of a row is compared: the columns the recipe or the job names, without what a template puts into every row."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from synth_ray.dedup.normalise import FIELD
from synth_ray.records import fields_of


def compared_text(table: pa.Table, names: Sequence[str], *, mask: Sequence[str] = ()) -> pa.ChunkedArray:
    """The compared columns of each row as one text. A name that is no column is a field of the row.

    `mask` are constants of a template: every row has them, so they say nothing about whether two rows are alike.
    """
    columns = [table[name] if name in ("prompt", "completion") else _field(table, name) for name in names]
    columns = [pc.fill_null(column, "") for column in columns]
    for constant in sorted(mask, key=lambda one: (-len(one), one)):
        columns = [pc.replace_substring(column, constant, " ") for column in columns]
    return pc.binary_join_element_wise(*columns, FIELD) if len(columns) > 1 else columns[0]


def _field(table: pa.Table, name: str) -> pa.Array:
    return pa.array([str(row.get(name, "")) for row in fields_of(table)], pa.string())
