"""Finds one row by its id, in the staged chunks and in the published dataset."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from synth_ray.dataset.ledger import Ledger
from synth_ray.dataset.manifest import read_manifest
from synth_ray.errors import ObjectNotFound
from synth_ray.storage import Storage


def trace(storage: Storage, id: str) -> dict[str, Any]:
    """The row's staged columns, overridden by its published ones. Raises ObjectNotFound."""
    ledger = Ledger(storage)
    staged = _find_row(storage, id, (ledger.read_commit(chunk).object for chunk in ledger.committed_chunks()))
    published = _published(storage, id)
    if not staged and not published:
        raise ObjectNotFound(
            f"{storage.url}: wanted a row with the id that was given, got none; is it of this output, and whole?"
        )
    return staged | {k: v for k, v in published.items() if v is not None}


def _published(storage: Storage, id: str) -> dict[str, Any]:
    try:
        manifest = read_manifest(storage)
    except ObjectNotFound:
        return {}
    for files, verdict in ((manifest.rejected_files, {}), (manifest.files, {"verdict": "accepted"})):
        if row := _find_row(storage, id, (file.path for file in files)):
            return row | verdict
    return {}


def _find_row(storage: Storage, id: str, paths: Iterable[str]) -> dict[str, Any]:
    """The row from the first file that has it. Only the `id` column is read, and then the one row group that contains the row."""
    for path in paths:
        try:
            with storage.open_input(path) as source:
                file = pq.ParquetFile(source)
                for group in range(file.num_row_groups):
                    place = pc.index(file.read_row_group(group, columns=["id"])["id"], id).as_py()
                    if place >= 0:
                        return dict(file.read_row_group(group).slice(place, 1).to_pylist()[0])
        except ObjectNotFound:
            continue  # its chunk was removed by `synth-ray gc`
    return {}
