"""Findings per entity, for the manifest and the dataset card."""

from __future__ import annotations

import pyarrow as pa


def pii_counts(table: pa.Table) -> dict[str, int]:
    """Findings of all rows of a scrubbed table, by entity, sorted."""
    total: dict[str, int] = {}
    for row in table["pii"].to_pylist():
        for entity, count in row or ():
            total[entity] = total.get(entity, 0) + count
    return dict(sorted(total.items()))
