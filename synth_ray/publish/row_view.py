"""One chunk's rows as the measures of a version read them: each column once, whoever needs it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from synth_ray.prepare.preparation import Prepared
from synth_ray.publish.classes import class_columns, class_name, gold_field, labels
from synth_ray.quality.profile import cells_of
from synth_ray.quality.value_counts import Array, encode
from synth_ray.records import SPLITS, Origin, Verdict

_DECIDED = ("reason", "detail", "similarity", "witness")
_SHOWN = ("id", "split", "origin", "messages", "reasoning", *_DECIDED)
_parse = json.JSONDecoder().raw_decode


@dataclass(frozen=True)
class RowView:
    """Rows with their verdicts, or rows that nobody decides (real ones for evaluation, seeds), which have none.

    Columns are read when they are first needed.
    """

    prepared: Prepared
    table: pa.Table

    def id_of(self, row: int) -> str:
        return str(self.table["id"][row].as_py())

    @cached_property
    def id_numbers(self) -> Array:
        """The first eight bytes of each id as a number: in the order of the ids."""
        digests = bytes.fromhex("".join(self.table["id"].to_pylist()))
        numbers: Array = np.frombuffer(digests, ">u8").reshape(-1, 2)[:, 0]
        return numbers

    @cached_property
    def outcomes(self) -> tuple[Array, list[tuple[str, str]]]:
        """How each row ended, as a position in the list of (verdict, reason)."""
        if "verdict" not in self.table.column_names:
            return np.zeros(self.table.num_rows, np.int64), [(Verdict.ACCEPTED.value, "")]
        verdicts, reasons = (encode(pc.fill_null(self.table[name], "")) for name in ("verdict", "reason"))
        names = [(verdict, reason) for verdict in verdicts.dictionary.to_pylist() for reason in reasons.dictionary.to_pylist()]
        codes: Array = np.asarray(verdicts.indices).astype(np.int64) * len(reasons.dictionary) + np.asarray(reasons.indices)
        return codes, names

    @cached_property
    def accepted(self) -> Array:
        """A mask of the accepted rows."""
        return self.rows_of(Verdict.ACCEPTED.value)

    def rows_of(self, verdict: str = "", *, reason: str = "") -> Array:
        """A mask of the rows with this verdict or this reason."""
        codes, names = self.outcomes
        wanted = np.array([(verdict and v == verdict) or (reason and r == reason) for v, r in names], bool)
        mask: Array = wanted[codes]
        return mask

    @cached_property
    def fields(self) -> list[dict[str, Any]]:
        """The recipe's own columns of each row."""
        return [_fields(text) for text in self.table["fields"].to_pylist()]

    @cached_property
    def labels(self) -> pa.DictionaryArray:
        """The class of each row; null where it has none."""
        names = class_columns(self.prepared)
        are_fields = "completion" not in names and not gold_field(self.prepared)
        if are_fields and (columns := text_fields(self.table["fields"], names)) is not None:
            return encode(pc.coalesce(*map(_class_names, columns)))
        return encode([label or None for label in labels(self.prepared, self.table, self.fields)])

    def texts(self, name: str) -> pa.DictionaryArray:
        """A field of each row as text, null where it is missing."""
        if (columns := text_fields(self.table["fields"], [name])) is not None:
            return encode(columns[0])
        return encode([_text(row.get(name)) for row in self.fields])

    @cached_property
    def teachers(self) -> pa.DictionaryArray:
        """The model that answered each row; null for a real one."""
        models = self.prepared.job.models
        names = pa.array([teacher.name for teacher in models.teachers], pa.string())
        synthetic = np.asarray(pc.equal(self.table["origin"], Origin.SYNTHETIC.value))
        codes = np.zeros(self.table.num_rows, np.int32)
        if len(names) > 1:
            codes = np.array([models.teacher_index_of(request) for request in self.table["request"].to_pylist()], np.int32)
        return pa.DictionaryArray.from_arrays(pa.array(codes, mask=~synthetic), names)

    @cached_property
    def cells(self) -> Array:
        """The cell of each row in a profile: its origin and its split."""
        return cells_of(self.table["origin"], self.table["split"])

    @cached_property
    def splits(self) -> Array:
        """Positions in `records.SPLITS`."""
        return self.cells % len(SPLITS)

    def examples(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """Rows as `_synth/examples.json` shows them; `witness` is the id of the kept row that each repeats."""
        place = pa.array(rows, pa.int64())
        names = [name for name in (*_SHOWN, "fields") if name in self.table.column_names]
        shown = self.table.select(names).take(place).to_pylist()
        labels, teachers = self.labels.take(place).to_pylist(), self.teachers.take(place).to_pylist()
        return [
            dict.fromkeys(_DECIDED)
            | _with_cut_thought(row)
            | {"class": label, "teacher": teacher, "fields": _fields(row["fields"])}
            for row, label, teacher in zip(shown, labels, teachers, strict=True)
        ]


def _with_cut_thought(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its last thought in a message, also where no answer followed it."""
    shown = {name: value for name, value in row.items() if name != "reasoning"}
    messages = row["messages"] or []
    if not row.get("reasoning") or (messages and messages[-1]["role"] == "assistant"):
        return shown
    return shown | {"messages": [*messages, {"role": "assistant", "content": "", "reasoning": row["reasoning"]}]}


def _fields(text: str | None) -> dict[str, Any]:
    """The object of a JSON text. Staged JSON has no spaces around it, so it is read without looking for any."""
    return dict(_parse(text)[0]) if text else {}


def text_fields(objects: pa.ChunkedArray, names: Sequence[str]) -> list[pa.Array] | None:
    """Fields of JSON objects as columns of text, read by Arrow in a third of the time that parsing whole objects takes. None
    where one of them is no text anywhere, or where Arrow reads the JSON differently.
    """
    data = "\n".join(text or "{}" for text in objects.to_pylist()).encode()
    schema = pa.schema([(name, pa.string()) for name in names])
    try:
        table = pj.read_json(
            pa.BufferReader(data),
            read_options=pj.ReadOptions(use_threads=False, block_size=min(len(data) + 1, 2**31 - 1)),
            parse_options=pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
    except pa.ArrowInvalid:  # another type, no JSON to Arrow, or no rows at all
        return None
    return [table[name].combine_chunks() for name in names] if table.num_rows == len(objects) else None


def _class_names(column: pa.Array) -> pa.Array:
    """The class that each text names, null where it names none."""
    encoded = encode(column)
    names = pa.array([class_name(text) or None for text in encoded.dictionary.to_pylist()], pa.string())
    return names.take(encoded.indices)


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else str(value)[:200]


def messages_of(rows: pa.Table) -> tuple[pa.StructArray, Array]:
    """All messages of the rows, one after the other, and where those of each row begin and end."""
    column = rows["messages"].combine_chunks()
    counts = np.asarray(column.value_lengths().fill_null(0)).astype(np.int64)
    return column.flatten(), np.concatenate(([0], np.cumsum(counts)))


def numbers_of(rows: pa.Table, name: str) -> Array:
    """A column of numbers, NaN where it is null or not there."""
    if name not in rows.column_names:
        return np.full(rows.num_rows, np.nan)
    numbers: Array = np.asarray(pc.fill_null(pc.cast(rows[name], pa.float64()), np.nan))
    return numbers


def field_numbers(fields: Sequence[Mapping[str, Any]], name: str) -> Array:
    """A number of each row's fields, NaN where there is none."""
    return np.array([_number(row.get(name)) for row in fields], np.float64)


def _number(value: Any) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < 1e300 else np.nan
