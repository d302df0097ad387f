"""Writes admitted rows to Parquet: by split, by declared partition, in admission order."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from types import TracebackType
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synth_ray.dataset.part import FileEntry, FileLimits, PartWriter
from synth_ray.dataset.row_digest import digests_and_sizes
from synth_ray.dataset.schema import RowShape
from synth_ray.job.output import Output
from synth_ray.records import SPLITS, TRAIN
from synth_ray.storage import Storage

DATA = "data"
REJECTED = "rejected"

_NULL = "__HIVE_DEFAULT_PARTITION__"
_MEMORY_BYTES = 512 * 2**20


@dataclass(frozen=True, slots=True)
class Written:
    """The files of a whole dataset. `dataset_digest` covers the rows of each split in order, not their files."""

    files: list[FileEntry]
    rejected_files: list[FileEntry]
    splits: dict[str, int]
    dataset_digest: str


class DatasetWriter:
    """Writes one dataset; `finish` returns its files, which count only once a manifest names them.

    Law: files, their bytes and the digest are a function of the rows and the output section. Memory: at most one row group per
    folder, 512 MiB in all. Takes staged rows, which `shape` converts to published ones. Leaving the block early leaves only part
    files that no manifest names.
    """

    def __init__(self, storage: Storage, shape: RowShape, output: Output, *, keeps_row_digests: bool = False) -> None:
        """`keeps_row_digests`: for `take_row_digests`, 16 bytes a row until it is called."""
        self._storage, self._keeps_row_digests = storage, keeps_row_digests
        self._shape = shape
        self._output = output
        folders = math.prod(len(values) + 1 for values in shape.partition_values.values())
        self._limits = _file_limits(output, open_folders=len(SPLITS) * folders)
        self._parts: dict[tuple[str, ...], PartWriter] = {}
        self._rejected = PartWriter(storage, REJECTED, shape.rejected_schema, _file_limits(output, open_folders=4), split="")
        schema = str(shape.accepted_schema).encode()
        self._digests = {split: hashlib.blake2b(schema, digest_size=16) for split in SPLITS}
        self._rows = dict.fromkeys(SPLITS, 0)
        self._row_digests: dict[str, list[bytes]] = {split: [] for split in SPLITS}

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for parts in [*self._parts.values(), self._rejected]:
            parts.abort()

    def write(self, split: str, staged: pa.Table) -> None:
        """Append accepted rows to a split, in the order given."""
        rows = self._shape.accepted(staged)
        digests, sizes = digests_and_sizes(rows)
        self.add_row_digests({split: b"".join(digests)})
        self._rows[split] += rows.num_rows
        for values, chosen in self._folders(rows):
            self._open(split, values).write(rows.take(chosen) if values else rows, sizes[chosen] if values else sizes)

    def add_row_digests(self, digests: Mapping[str, bytes]) -> None:
        """Count the digests of more rows of each split, one after the other, towards that of the dataset."""
        for split, data in digests.items():
            self._digests[split].update(data)
            if self._keeps_row_digests:
                self._row_digests[split].append(data)

    def take_row_digests(self) -> dict[str, bytes]:
        """By split, the digests of the rows written since this was last called; of a writer that keeps none, none."""
        taken, self._row_digests = self._row_digests, {split: [] for split in SPLITS}
        return {split: b"".join(parts) for split, parts in taken.items()}

    def cut(self) -> None:
        """End the parts that are large enough, so that no row before this is in a part with one after it, but for a few in
        memory.
        """
        for parts in [*self._parts.values(), self._rejected]:
            parts.cut()

    def state(self) -> dict[str, Any]:
        """After `cut`: the files, and the rows that are in none yet. The digest of the dataset is not in it."""
        return {
            "rows": self._rows,
            "parts": {key: parts.state() for key, parts in self._parts.items()},
            "rejected": self._rejected.state(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on after another writer's `state`, in place of whatever was written here. Its row digests are given apart."""
        self._rows = dict(state["rows"])
        for parts in self._parts.values():
            parts.abort()
        self._parts = {}
        for split, *values in state["parts"]:
            self._open(split, tuple(values)).load(state["parts"][split, *values])
        self._rejected.load(state["rejected"])

    def missing_files(self, state: Mapping[str, Any]) -> list[str]:
        """The files of another writer's `state` that the store does not have, or has with other bytes."""
        sizes = {entry.path: entry.size for folder in (DATA, REJECTED) for entry in self._storage.list(f"{folder}/")}
        files = [file for parts in [*state["parts"].values(), state["rejected"]] for file in parts["files"]]
        return [file.path for file in files if sizes.get(file.path) != file.size_bytes]

    def reject(self, staged: pa.Table) -> None:
        """Append rejected or failed rows, with their verdict and reason, to `rejected/`."""
        rows = self._shape.rejected(staged)
        self._rejected.write(rows, digests_and_sizes(rows)[1])

    def finish(self) -> Written:
        """Close every part file. Files are ordered by split, partition and number."""
        files = [file for key in self._order() for file in self._parts[key].close()] or self._empty_part()
        dataset_hash = hashlib.blake2b(digest_size=16)
        for split in SPLITS:
            dataset_hash.update(f"{split}:{self._rows[split]}:{self._digests[split].hexdigest()};".encode())
        splits = {split: rows for split, rows in self._rows.items() if rows}
        return Written(files, self._rejected.close(), splits, dataset_hash.hexdigest())

    def _empty_part(self) -> list[FileEntry]:
        """One file without rows: a reader of an empty dataset finds its columns, and the card its other configurations."""
        return [
            PartWriter(
                self._storage, f"{DATA}/split={TRAIN}", self._shape.accepted_schema, self._limits, split=TRAIN
            ).write_empty()
        ]

    def _folders(self, rows: pa.Table) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
        """Each folder's partition values, with the indices of its rows in ascending order."""
        closed = self._shape.partition_values
        if not closed:
            yield (), np.arange(rows.num_rows)
            return
        codes = np.zeros(rows.num_rows, np.int64)
        for name, values in closed.items():
            place = pc.fill_null(pc.index_in(rows[name], pa.array(values, pa.string())), len(values))
            codes = codes * (len(values) + 1) + place.to_numpy()
        folders = list(product(*([*values, _NULL] for values in closed.values())))
        for code in np.unique(codes):
            yield folders[code], np.flatnonzero(codes == code)

    def _open(self, split: str, values: tuple[str, ...]) -> PartWriter:
        key = (split, *values)
        if key not in self._parts:
            named = zip(self._shape.partition_values, values, strict=True)
            below = [f"{name}={value if value == _NULL else quote(value, safe='')}" for name, value in named]
            folder = "/".join([DATA, f"split={split}", *below])
            self._parts[key] = PartWriter(self._storage, folder, self._shape.accepted_schema, self._limits, split=split)
        return self._parts[key]

    def _order(self) -> list[tuple[str, ...]]:
        names = list(self._shape.partition_values.values())
        rank = [{value: i for i, value in enumerate([*values, _NULL])} for values in names]
        return sorted(self._parts, key=lambda k: (SPLITS.index(k[0]), [r[v] for r, v in zip(rank, k[1:], strict=True)]))


def _file_limits(output: Output, *, open_folders: int) -> FileLimits:
    """With many folders the row groups are smaller, because one row group per folder is in memory."""
    return FileLimits(
        part_rows=output.part_rows,
        part_bytes=output.part_bytes,
        group_rows=output.row_group_rows,
        group_bytes=min(output.row_group_bytes, max(2**20, _MEMORY_BYTES // open_folders)),
        compression=output.compression,
    )
