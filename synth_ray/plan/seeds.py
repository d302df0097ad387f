"""Seeds from sources: in canonical form, identified by content, grouped by lineage. And a store of millions of them on disk."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synth_ray.job.seeds import Source
from synth_ray.plan.folders import fields_of_folders, with_folders
from synth_ray.plan.plain import BadRow, Row
from synth_ray.plan.rows import format_of, rows_of
from synth_ray.plan.shapes import NoField, WrongType, canonical_fields
from synth_ray.records import SPLITS, Origin, Reason, Seed, canonical_json, digest

OpenFile = Callable[[str], BinaryIO]

_BATCH = 4096
_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("lineage", pa.string()),
        ("split", pa.int8()),
        ("fields", pa.string()),
        ("source", pa.string()),
        ("line", pa.int64()),
        ("origin", pa.string()),
        ("depth", pa.int8()),
    ]
)


@dataclass(frozen=True, slots=True)
class RejectedSeed:
    """A row that is not used as a seed: why, and where it is. `detail` gives type and length, never text."""

    reason: Reason
    file: str
    line: int
    detail: str = ""
    lines: int = 1


def read_seeds(source: Source, *, paths: Iterable[str], open_file: OpenFile, seen: set[str]) -> Iterator[Seed | RejectedSeed]:
    """Stream every row of the source's files, as a seed or a rejected seed.

    `seen` has the ids so far and grows: a row with the content of an earlier one is rejected(duplicate_seed). Raises JobError for
    a file that is not in its format, without the job key that names it.
    """
    read = 0
    for path in paths:
        kind = format_of(path) if source.format == "auto" else source.format
        name = _shown(path)
        folders = fields_of_folders(name)
        with open_file(path) as file:
            for row in rows_of(file, kind=kind, path=name, delimiter=source.delimiter, columns=_columns(source)):
                if source.limit is not None and read >= source.limit:
                    return
                read += 1
                yield _seed(with_folders(row, folders) if folders else row, source, name, seen)


def _columns(source: Source) -> set[str]:
    """The columns that a mapping needs; none named where there is no mapping. A dotted path may be a column's whole name."""
    paths = source.fields.values()
    more = {"origin", "depth", *([source.lineage] if source.lineage else [])}
    return {name for path in paths for name in (path, path.split(".")[0])} | more if paths else set()


def _shown(path: str) -> str:
    """A path for people: without a URL's query, where signatures are, and always Unicode text."""
    bare = path.partition("?")[0] if path.startswith(("http://", "https://")) else path
    return bare.encode("utf-8", "backslashreplace").decode()


def _seed(row: Row | BadRow, source: Source, path: str, seen: set[str]) -> Seed | RejectedSeed:
    if isinstance(row, BadRow):
        return RejectedSeed(row.reason, path, row.line, row.detail, row.lines)
    try:
        fields = canonical_fields(row.value, shape=source.shape, mapping=source.fields)
        _require_prompt(fields)
    except NoField as missing:
        return RejectedSeed(Reason.MISSING_FIELD, path, row.line, f"no '{missing}'")
    except WrongType as wrong:
        return RejectedSeed(Reason.WRONG_TYPE, path, row.line, f"wanted {wrong}")
    except _EmptySeed:
        return RejectedSeed(Reason.EMPTY_SEED, path, row.line, "prompt of no text")
    depth = _depth(row.value, source)
    if depth > source.allow_depth:
        return RejectedSeed(Reason.TOO_DEEP, path, row.line, f"depth {depth}, at most {source.allow_depth} allowed")
    name = _id(fields)
    if name in seen:
        return RejectedSeed(Reason.DUPLICATE_SEED, path, row.line)
    seen.add(name)
    origin = Origin.SYNTHETIC if depth else Origin.REAL
    return Seed(name, _lineage(row.value, source, fields), "train", fields, path, row.line, origin, depth)


class _EmptySeed(Exception):
    pass


def _require_prompt(fields: dict[str, Any]) -> None:
    """Law: a seed has a prompt of text. A prompt that is null is missing, as in the rows of an outer join."""
    if fields.get("prompt") is None:
        raise NoField("prompt")
    if not isinstance(fields["prompt"], str):
        raise WrongType(f"text in 'prompt', got {type(fields['prompt']).__name__}")
    if not fields["prompt"].strip():
        raise _EmptySeed


def _depth(value: Any, source: Source) -> int:
    """The row's own depth if it has the provenance of an earlier run, else the source's."""
    own = value.get("depth") if isinstance(value, dict) and value.get("origin") in ("real", "synthetic") else None
    return own if isinstance(own, int) and not isinstance(own, bool) and own >= 0 else source.depth


def _id(fields: dict[str, Any]) -> str:
    return blake2b(canonical_json(fields), digest_size=16).hexdigest()


def _lineage(value: Any, source: Source, fields: dict[str, Any]) -> str:
    """Rows share a lineage if they have the same group, or the same prompt up to case, Unicode width and spacing."""
    named = value.get(source.lineage) if source.lineage and isinstance(value, dict) else None
    if named is not None:
        return digest("group", str(named))
    folded = unicodedata.normalize("NFKC", fields["prompt"]).casefold()
    return digest("prompt", re.sub(r"\s+", " ", folded).strip())


class SeedStore:
    """Accepted seeds in a memory-mapped Arrow file: any seed by its index, and little memory for millions of them."""

    def __init__(self, path: Path, content_digest: str) -> None:
        self._table = pa.ipc.open_file(pa.memory_map(str(path))).read_all().combine_chunks()
        self.digest = content_digest
        self._splits = self._table["split"].to_numpy() if len(self._table) else np.empty(0, np.int8)

    @classmethod
    def write(cls, folder: Path, seeds: Iterable[Seed]) -> SeedStore:
        """Write the seeds to a file in `folder`. The store's `digest` covers their contents, splits and order."""
        path, content_hash = folder / "seeds.arrow", blake2b(digest_size=16)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, _SCHEMA) as writer:
            batch: list[dict[str, Any]] = []
            for seed in seeds:
                content_hash.update(f"{seed.id}{seed.lineage}{seed.split};".encode())
                batch.append(_row(seed))
                if len(batch) == _BATCH:
                    writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=_SCHEMA))
                    batch = []
            writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=_SCHEMA))
        return cls(path, content_hash.hexdigest())

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __iter__(self) -> Iterator[Seed]:
        return (seed for start in range(0, len(self), _BATCH) for seed in _seeds(self._table.slice(start, _BATCH)))

    def __getitem__(self, index: int) -> Seed:
        return self.take([index])[0]

    def take(self, indices: Sequence[int]) -> list[Seed]:
        """The seeds with these indices, in this order."""
        return list(_seeds(self._table.take(pa.array(indices, pa.int64())))) if len(indices) else []

    def count_among(self, ids: Iterable[str]) -> int:
        """How many seeds have one of these ids."""
        return int(pc.sum(pc.is_in(self._table["id"], value_set=pa.array(list(ids), pa.string()))).as_py() or 0)

    @property
    def splits(self) -> Any:
        """Each seed's split, as its index in `records.SPLITS` (int8)."""
        return self._splits


def _seeds(rows: pa.Table) -> Iterator[Seed]:
    columns = (rows[name].to_pylist() for name in _SCHEMA.names)
    for name, lineage, split, fields, source, line, origin, depth in zip(*columns, strict=True):
        yield Seed(name, lineage, SPLITS[split], json.loads(fields), source, line, Origin(origin), depth)


def _row(seed: Seed) -> dict[str, Any]:
    return {
        "id": seed.id,
        "lineage": seed.lineage,
        "split": SPLITS.index(seed.split),
        "fields": canonical_json(seed.fields).decode(),
        "source": seed.source,
        "line": seed.line,
        "origin": seed.origin.value,
        "depth": seed.depth,
    }
