"""Rows of a published version: a page of those that a query asks for, how many there are, and each one whole.

A page is made in two steps: the positions of its rows (file and number in it), from the columns asked about alone; then what is
shown of these rows. Rows are in the manifest's order, accepted before rejected, or sorted with ties in that of their positions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from synth_ray.dataset.manifest import File, Manifest, read_manifest
from synth_ray.dataset.trace import staged_row
from synth_ray.errors import ObjectNotFound, StorageError
from synth_ray.records import Verdict
from synth_ray.storage import Storage
from synth_ray.view.choices import NOT_A_CHOICE, choices, ranges
from synth_ray.view.parts import READ, Parts, addresses
from synth_ray.view.query import TEXT, Condition, Query, Source, condition_of, quoted
from synth_ray.view.values import excerpt, plain

PAGE_ROWS = 50
_STANDARD = NOT_A_CHOICE | {"origin", "teacher", "revision", "recipe", "finish_reason", "split", "verdict", "reason"}
_LISTED = ("reason", "detail", "witness", "similarity", "origin")
_LONGEST_CLASS = 80
_ROWS_OF_A_FILE = 2**40  # more than any has: a file and a row in it are one number, which sorts faster than two
_LONGEST_TEXT = 20_000
_STAGED = ("flags", "pii", "request", "chunk", "position", "slot")


class Position(NamedTuple):
    """Where a row is: the index of its file among those of the manifest, and its number in that file."""

    file: int
    row: int


def open_rows(storage: Storage) -> Rows:
    """Rows of the published version. Raises MissingResource without DuckDB, ObjectNotFound, StorageError."""
    return Rows(storage, read_manifest(storage))


class Rows:
    """Safe for many threads. Every method that reads raises StorageError when a part cannot be read."""

    def __init__(self, storage: Storage, manifest: Manifest) -> None:
        self.manifest = manifest
        self._storage = storage
        self._parts = Parts(storage, manifest)
        self.kinds = self._parts.kinds
        self.close = self._parts.close

    def page(self, query: Query, *, offset: int = 0, limit: int = PAGE_ROWS) -> tuple[list[dict[str, Any]], bool]:
        """Rows from the offset on, shortened for a list, and whether more follow. Raises JobError for a wrong column."""
        positions = self.positions(query, offset=offset, limit=limit + 1)
        listed = self._listed(positions[:limit], query)
        return [listed[position] for position in positions[:limit]], len(positions) > limit

    def positions(self, query: Query, *, offset: int, limit: int) -> list[Position]:
        """Where the rows are. Raises JobError for a wrong column."""
        query.check(self.kinds)
        selects, values, files = [], [], list[File]()
        for source, condition in self._matching(query):
            # NaN counts as no number: where many rows are NaN, DuckDB's order of them differs from page to page.
            value = f"nullif({_number(query.sort)}, 'nan'::DOUBLE)" if query.sort in source.columns else "NULL::DOUBLE"
            place = f"(file_index::BIGINT + {len(files)}) * {_ROWS_OF_A_FILE} + file_row_number"
            selects.append(f"SELECT {place} AS place, {value} AS value FROM {READ} WHERE {condition.where}")
            values += [addresses(condition.files), *condition.values]
            files += condition.files
        if not selects:
            return []
        way = "DESC" if query.descending else "ASC"
        order = f"ORDER BY value {way} NULLS LAST, place" if query.sort else ""  # without, DuckDB keeps the order it reads in
        sql = f"SELECT place FROM ({' UNION ALL '.join(selects)}) {order} LIMIT ? OFFSET ?"
        found = (divmod(place, _ROWS_OF_A_FILE) for (place,) in self._parts.fetch(sql, [*values, limit, offset]))
        return [Position(self._parts.index[files[file].path], row) for file, row in found]

    def count(self, query: Query) -> int:
        """How many rows match: from the manifest where nothing is asked that needs a look at the rows."""
        query.check(self.kinds)
        return sum(self._count(condition) for _, condition in self._matching(query))

    def _count(self, condition: Condition) -> int:
        if not condition.sql:
            return sum(file.rows for file in condition.files)
        sql = f"SELECT count(*) FROM {READ} WHERE {condition.where}"
        return int(self._parts.fetch(sql, [addresses(condition.files), *condition.values])[0][0])

    def _matching(self, query: Query) -> Iterator[tuple[Source, Condition]]:
        for source in self._parts.sources:
            if (condition := condition_of(source, query)) is not None:
                yield source, condition

    def _listed(self, positions: list[Position], query: Query) -> dict[Position, dict[str, Any]]:
        listed: dict[Position, dict[str, Any]] = {}
        for source in self._parts.sources:
            here = [position for position in positions if self._is_accepted(position) == source.accepted]
            if here:
                listed |= self._listed_of(source, here, query)
        return listed

    def _listed_of(self, source: Source, positions: list[Position], query: Query) -> dict[Position, dict[str, Any]]:
        """Rows of one source. Their numbers are looked up in each of the files: rows that were not asked for come along."""
        columns = _columns_of_a_list(source, query)
        files = [self._parts.files[n] for n in sorted({position.file for position in positions})]
        numbers = ", ".join(str(n) for n in sorted({position.row for position in positions}))
        sql = (
            f"SELECT file_index, file_row_number, {', '.join(columns.values())} FROM {READ} WHERE file_row_number IN ({numbers})"
        )
        rows = {}
        for file, number, *values in self._parts.fetch(sql, [addresses(files)]):
            position = Position(self._parts.index[files[file].path], number)
            rows[position] = self._shown(position, dict(zip(columns, values, strict=True)), query)
        return rows

    def _shown(self, position: Position, row: dict[str, Any], query: Query) -> dict[str, Any]:
        texts = {name: excerpt(row.pop(name), query.text) for name in ("prompt", "completion")}
        return {**self._placed(position), **texts, **{name: plain(value) for name, value in row.items() if value is not None}}

    def _placed(self, position: Position) -> dict[str, Any]:
        """What a row's place tells of it."""
        at = {"at": f"{position.file}.{position.row}"}
        if not self._is_accepted(position):
            return at
        return {**at, "split": self._parts.files[position.file].split, "verdict": Verdict.ACCEPTED.value}

    def _is_accepted(self, position: Position) -> bool:
        return position.file < len(self.manifest.files)

    def to_choose_from(self) -> dict[str, Any]:
        """`choices`: columns with few values; `ranges`: columns of numbers."""
        return {"choices": choices(self._parts), "ranges": ranges(self._parts)}

    def row(self, id: str, at: str = "") -> dict[str, Any]:
        """All columns of a row. `at`, from a list, saves looking for it. Raises ObjectNotFound."""
        position = self._parsed(at)
        row = self._whole(position) if position is not None else {}
        if row.get("id") != id:
            row = self._whole(self._position_of(id))
        return {name: plain(value) for name, value in row.items()}

    def staged(self, id: str) -> dict[str, Any]:
        """What checks and scrub found in a row before it was decided; empty for real rows, and where `gc` removed the chunks."""
        row = staged_row(self._storage, id)
        return {name: plain(row[name]) for name in _STAGED if name in row}

    def _parsed(self, at: str) -> Position | None:
        file, _, row = at.partition(".")
        if not (len(at) < 32 and file.isascii() and row.isascii() and file.isdecimal() and row.isdecimal()):
            return None
        position = Position(int(file), int(row))
        files = self._parts.files
        return position if position.file < len(files) and position.row < files[position.file].rows else None

    def _position_of(self, id: str) -> Position:
        for source in self._parts.sources:
            sql = f"SELECT file_index, file_row_number FROM {READ} WHERE id = ? LIMIT 1"
            for file, number in self._parts.fetch(sql, [addresses(source.files), id]):
                return Position(self._parts.index[source.files[file].path], number)
        raise ObjectNotFound("row: wanted one of the dataset, got an id that no row of it has; a seed or a row to evaluate with?")

    def _whole(self, position: Position) -> dict[str, Any]:
        """Read by pyarrow, which wrote it: every type of column comes back."""
        path = self._parts.files[position.file].path
        try:
            with self._storage.open_input(path) as source:
                row = _row_of(pq.ParquetFile(source), position.row)
        except (pa.ArrowException, OSError) as error:
            kind = type(error).__name__
            raise StorageError(f"{self._storage.url}/{path}: wanted a Parquet file, got {kind}; restore it") from None
        return {**row, **self._placed(position)}


def _columns_of_a_list(source: Source, query: Query) -> dict[str, str]:
    """Columns of a row in a list, with their SQL: its texts, why it was decided so, its classes, and what it is sorted by."""
    columns = {name: f"left({quoted(name)}, {_LONGEST_TEXT})" for name in ("prompt", "completion")}
    classes = [name for name, kind in source.columns.items() if kind == TEXT and name not in _STANDARD]
    columns |= {name: f"left({quoted(name)}, {_LONGEST_CLASS + 1})" for name in classes}
    plainly = ["id", *_LISTED, *([] if source.accepted else ["split", "verdict"])]
    columns |= {name: quoted(name) for name in plainly if name in source.columns}
    return columns | ({query.sort: _number(query.sort)} if query.sort in source.columns else {})


def _row_of(file: pq.ParquetFile, number: int) -> dict[str, Any]:
    """The row of that number, by the one row group that has it."""
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        if number < rows:
            return dict(file.read_row_group(group).slice(number, 1).to_pylist()[0])
        number -= rows
    return {}


def _number(column: str) -> str:
    return f"CAST({quoted(column)} AS DOUBLE)"
