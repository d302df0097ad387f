"""A store of millions of seeds on disk."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synth_ray.errors import SynthRayError
from synth_ray.records import SPLITS, Origin, Seed, canonical_json

_BATCH = 4096
_SCHEMA = pa.schema(
    [
        ("id", pa.large_string()),
        ("lineage", pa.large_string()),
        ("split", pa.int8()),
        ("fields", pa.large_binary()),
        ("source", pa.int32()),
        ("line", pa.int64()),
        ("origin", pa.int8()),
        ("depth", pa.int8()),
    ]
)
_ORIGINS = tuple(Origin)
_SPLIT_MARKS = pa.array([f"{split};" for split in SPLITS], pa.large_string())

Array = np.ndarray[Any, Any]


class SeedColumns(NamedTuple):
    """Seeds of one source, column by column: ids and lineages as text, `fields` as canonical JSON, `splits` and `origins` as
    indices in `records.SPLITS` and `records.Origin`.
    """

    ids: pa.Array
    lineages: pa.Array
    splits: Array
    fields: pa.Array
    lines: Array
    origins: Array
    depths: Array


class SeedStore:
    """Accepted seeds in a memory-mapped Arrow file: any seed by its index, and one byte of memory for each."""

    def __init__(self, path: Path, content_digest: str, sources: Sequence[str]) -> None:
        self._file = pa.ipc.open_file(pa.memory_map(str(path)))
        self._sources = sources
        self.digest = content_digest
        self._batches: dict[int, _Batch] = {}
        splits = [self._file.get_batch(i)["split"].to_numpy() for i in range(self._file.num_record_batches)]
        self._splits = np.concatenate(splits) if splits else np.empty(0, np.int8)
        self._ends = np.cumsum([len(part) for part in splits], dtype=np.int64)

    @classmethod
    def write(cls, folder: Path, seeds: Iterable[Seed], *, name: str = "seeds") -> SeedStore:
        """Write the seeds to a file in `folder`."""
        writer, remaining = SeedStoreWriter(folder, name), iter(seeds)
        while batch := list(islice(remaining, _BATCH)):
            writer.write_seeds(batch)
        return writer.close()

    def __len__(self) -> int:
        return len(self._splits)

    def __iter__(self) -> Iterator[Seed]:
        return (seed for start in range(0, len(self), _BATCH) for seed in self.take(range(start, min(len(self), start + _BATCH))))

    def __getitem__(self, index: int) -> Seed:
        return self.take([index])[0]

    def take(self, indices: Sequence[int] | Array) -> list[Seed]:
        """The seeds with these indices, in this order."""
        wanted = np.asarray(indices, np.int64)
        batches = np.searchsorted(self._ends, wanted, side="right")
        return [self._seed(batch, index) for batch, index in zip(batches.tolist(), wanted.tolist(), strict=True)]

    def _seed(self, number: int, index: int) -> Seed:
        if number not in self._batches:
            self._batches[number] = _Batch.of(self._file.get_batch(number), end=int(self._ends[number]))
        return self._batches[number].seed(index, self._sources)

    def ids(self) -> Iterator[str]:
        """The id of every seed, in order."""
        for number in range(self._file.num_record_batches):
            yield from self._file.get_batch(number)["id"].to_pylist()

    def count_among(self, ids: Iterable[str]) -> int:
        """How many seeds have one of these ids."""
        wanted = pa.array(list(ids), pa.large_string())
        batches = (self._file.get_batch(i) for i in range(self._file.num_record_batches))
        return sum(int(pc.sum(pc.is_in(batch["id"], value_set=wanted)).as_py() or 0) for batch in batches)

    @property
    def splits(self) -> Any:
        """Each seed's split, as its index in `records.SPLITS` (int8)."""
        return self._splits


class _Batch(NamedTuple):
    """Views of a record batch in the file, which copy nothing. `start` is the index of its first seed."""

    start: int
    texts: tuple[tuple[Array, memoryview], ...]
    numbers: tuple[Array, ...]

    @classmethod
    def of(cls, batch: pa.RecordBatch, *, end: int) -> _Batch:
        texts = (batch[name].buffers() for name in ("id", "lineage", "fields"))
        views = tuple((np.frombuffer(ends, np.int64), memoryview(data or b"")) for _, ends, data in texts)
        numbers = tuple(batch[name].to_numpy() for name in ("split", "source", "line", "origin", "depth"))
        return cls(end - batch.num_rows, views, numbers)

    def seed(self, index: int, sources: Sequence[str]) -> Seed:
        at = index - self.start
        name, lineage, fields = (bytes(data[ends[at] : ends[at + 1]]) for ends, data in self.texts)
        split, source, line, origin, depth = (int(column[at]) for column in self.numbers)
        return Seed(
            name.decode(),
            lineage.decode(),
            SPLITS[split],
            json.loads(fields),
            sources[source],
            line,
            _ORIGINS[origin],
            depth,
        )


class SeedStoreWriter:
    """Writes a store batch by batch. The store's `digest` covers the ids, lineages and splits of its seeds, in their order.

    Raises SynthRayError where the disk has no room for them.
    """

    def __init__(self, folder: Path, name: str = "seeds") -> None:
        self._path, self._hash = folder / f"{name}.arrow", blake2b(digest_size=16)
        with self._written():
            self._sink = pa.OSFile(str(self._path), "wb")
            self._writer = pa.ipc.new_file(self._sink, _SCHEMA)
        self._sources: dict[str, int] = {}

    def write_seeds(self, seeds: Sequence[Seed]) -> None:
        columns = SeedColumns(
            pa.array([seed.id for seed in seeds], pa.large_string()),
            pa.array([seed.lineage for seed in seeds], pa.large_string()),
            np.array([SPLITS.index(seed.split) for seed in seeds], np.int8),
            pa.array([canonical_json(seed.fields) for seed in seeds], pa.large_binary()),
            np.array([seed.line for seed in seeds], np.int64),
            np.array([_ORIGINS.index(seed.origin) for seed in seeds], np.int8),
            np.array([seed.depth for seed in seeds], np.int8),
        )
        self._write(columns, np.array([self._source(seed.source) for seed in seeds], np.int32))

    def write_columns(self, columns: SeedColumns, source: str) -> None:
        self._write(columns, np.full(len(columns.ids), self._source(source), np.int32))

    def _source(self, name: str) -> int:
        return self._sources.setdefault(name, len(self._sources))

    def _write(self, columns: SeedColumns, sources: Array) -> None:
        if not len(sources):
            return
        named = pc.binary_join_element_wise(
            columns.ids, columns.lineages, _SPLIT_MARKS.take(pa.array(columns.splits)), pa.scalar("", pa.large_string())
        )
        self._hash.update(memoryview(named.buffers()[2])[: int(np.frombuffer(named.buffers()[1], np.int64)[len(named)])])
        ids, lineages, splits, fields, *others = columns
        numbers = [pa.array(column) for column in (splits, sources, *others)]
        arrays = [ids, lineages, numbers[0], fields, *numbers[1:]]
        with self._written():
            self._writer.write_batch(pa.record_batch(arrays, schema=_SCHEMA))

    @contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            size = self._path.stat().st_size if self._path.exists() else 0
            raise SynthRayError(
                f"{self._path.parent}: wanted to add to {size:,} bytes of seeds on the local disk, got "
                f"'{os.strerror(error.errno or 0)}'; free some space, or set TMPDIR to a larger disk, then run the same command"
            ) from None

    def close(self) -> SeedStore:
        """The store of what was written."""
        with self._written():
            self._writer.close()
            self._sink.close()
        return SeedStore(self._path, self._hash.hexdigest(), list(self._sources))
