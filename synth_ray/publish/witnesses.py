"""The texts of the kept rows that shown rows repeat.

The index knows the id of every kept row by its number, so the number of a witness says where it is: a row of an earlier run, a
real row, a seed, or a row of one chunk. Cost: one pass over the ids in memory, and a read of each chunk that a witness is in, so
at most one chunk for each shown row, whatever the size of the dataset.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synth_ray.dataset.manifest import File, read_manifest
from synth_ray.dataset.trace import rows_with_ids
from synth_ray.dedup.hashing import U8
from synth_ray.dedup.index import Index
from synth_ray.errors import ObjectNotFound, SynthRayError
from synth_ray.prepare.preparation import Prepared
from synth_ray.prepare.seed_rows import seed_rows
from synth_ray.publish.row_view import RowView
from synth_ray.records import STAGED
from synth_ray.storage import Storage, open_storage

EARLIER, REAL, SEED = "earlier", "real", "seed"
MAX_EARLIER_ROWS = 2_000_000

Row = dict[str, Any]
Kind = str | int


class Witnesses:
    """Finds kept rows by id. `mark` after every addition to the index says what the new numbers are: a kind, or a chunk.

    `read_chunk(chunk)` are its staged rows and `restage` what a curation does to them; `scrub` treats real rows and seeds.
    """

    KEEPS = ("_ends", "_kinds")

    def __init__(
        self,
        prepared: Prepared,
        *,
        read_chunk: Callable[[int], pa.Table],
        restage: Callable[[pa.Table], pa.Table] | None,
        scrub: Callable[[pa.Table], pa.Table],
    ) -> None:
        self._prepared, self._scrub = prepared, scrub
        self._read_chunk, self._restage = read_chunk, restage or (lambda table: table)
        self._ends: list[int] = [0]
        self._kinds: list[Kind] = []

    def mark(self, kind: Kind, kept: int) -> None:
        """The index now holds `kept` rows."""
        self._ends.append(kept)
        self._kinds.append(kind)

    def find(self, index: Index, ids: Collection[str]) -> dict[str, Row]:
        """By id: the row as it is shown, or {"note": why it is not}."""
        numbers = dict(_numbers_of(index, ids))
        by_kind: dict[Kind, dict[str, int]] = {}
        for name, number in numbers.items():
            by_kind.setdefault(self._kinds[bisect_right(self._ends, number) - 1], {})[name] = number
        found: dict[str, Row] = {name: {"note": "not among the kept rows"} for name in ids}
        for kind, members in by_kind.items():
            if kind == EARLIER:
                found |= self._earlier(members)
            else:
                found |= self._shown(self._rows(kind, members), **({"origin": SEED} if kind == SEED else {}))
        return found

    def _rows(self, kind: Kind, numbers: dict[str, int]) -> Iterator[pa.Table]:
        if kind == SEED:
            first = next(start for (start, _), own in zip(pairwise(self._ends), self._kinds, strict=True) if own == SEED)
            yield self._scrub(seed_rows(self._prepared.seeds[number - first] for number in numbers.values()))
            return
        wanted = pa.array(list(numbers), pa.string())
        if kind == REAL:
            real = self._prepared.real
            for rows in (real.filter(pc.is_in(real["id"], value_set=wanted)), self._prepared.mixed.with_ids(numbers)):
                yield self._scrub(rows)
            return
        rows = self._read_chunk(int(kind))
        yield self._restage(rows.filter(pc.is_in(rows["id"], value_set=wanted)))

    def _shown(self, tables: Iterable[pa.Table], **changes: Any) -> dict[str, Row]:
        views = [RowView(self._prepared, table) for table in tables if table.num_rows]
        changes = {"reason": None, "detail": None} | changes
        return {row["id"]: row | changes for view in views for row in view.examples(range(view.table.num_rows))}

    def _earlier(self, ids: Collection[str]) -> dict[str, Row]:
        """The rows of earlier datasets. One that cannot be read any more costs the examples a row, and never the run."""
        found: dict[str, Row] = {}
        note = "a row of an earlier run (dedup.against)"
        for prefix in self._prepared.job.dedup.against:
            try:
                found |= self._rows_of(prefix, ids)
            except SynthRayError:
                note = "a row of an earlier run (dedup.against), not all of which could be read"
        return {name: {"note": note} for name in ids} | found

    def _rows_of(self, prefix: str, ids: Collection[str]) -> dict[str, Row]:
        """Scrubbed by this job too: the earlier one may have scrubbed less."""
        output = self._prepared.job.output
        storage = open_storage(prefix, **output.server_for(prefix))
        rows = rows_with_ids(storage, _small_version(storage), ids)
        staged = [{name: row.get(name) for name in STAGED.names} | {"request": ""} for row in rows.values()]
        shown = self._shown([self._scrub(pa.Table.from_pylist(staged, schema=STAGED))] if staged else [])
        return {name: row | {"teacher": rows[name].get("teacher")} for name, row in shown.items()}


def _small_version(storage: Storage) -> list[File]:
    """The accepted rows' files; none where the version has too many rows to look through, or where none is published."""
    try:
        files = read_manifest(storage).files
    except ObjectNotFound:
        return []
    return files if sum(file.rows for file in files) <= MAX_EARLIER_ROWS else []


def _numbers_of(index: Index, ids: Collection[str]) -> Iterator[tuple[str, int]]:
    """(id, number) of the kept rows that have these ids."""
    names = sorted(ids)
    if names:
        wanted = np.frombuffer(bytes.fromhex("".join(names)), U8).reshape(-1, 16)
        found, numbers = index.stores.rows.numbers_of(wanted)
        yield from zip([names[at] for at in found.tolist()], numbers.tolist(), strict=True)
