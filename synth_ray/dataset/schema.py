"""The published row: the columns taken from a staged row, its provenance, and the fields that the job declared as columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from synth_ray.dataset.top_k import TOP_K_COLUMNS, top_k_columns
from synth_ray.errors import JobError
from synth_ray.job.models import Models
from synth_ray.job.output import RESERVED, Output
from synth_ray.records import LOGPROBS, MESSAGES, THOUGHT_MESSAGES, Origin, canonical_json, fields_of

_TYPES = {
    "string": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "strings": pa.list_(pa.string()),
    "json": pa.string(),
    "logprobs": LOGPROBS,
}
"""By declared type. `json` takes any value: a string as it is, anything else as JSON text; `logprobs` is the staged column."""

TOP_K = "top_k"
NOT_FROM_FIELDS = ("logprobs", TOP_K)
"""Declared types whose values are in columns of the staged row: `top_k` becomes the columns TOP_K_COLUMNS."""

_COLUMNS_BEFORE = [("id", pa.string()), ("messages", MESSAGES), ("prompt", pa.string()), ("completion", pa.string())]
_THOUGHT_COLUMNS = [("reasoning", pa.string()), ("reasoning_tokens", pa.int32())]
_THOUGHT_NAMES = frozenset(name for name, _ in _THOUGHT_COLUMNS)
_COLUMNS_AFTER = [
    ("fields", pa.string()),
    ("origin", pa.string()),
    ("depth", pa.int8()),
    ("seed", pa.string()),
    ("lineage", pa.string()),
    ("teacher", pa.string()),
    ("revision", pa.string()),
    ("recipe", pa.string()),
    ("prompt_digest", pa.string()),
    ("ask_digest", pa.string()),
    ("prompt_tokens", pa.int32()),
    ("completion_tokens", pa.int32()),
    ("finish_reason", pa.string()),
]
VERDICT_COLUMNS = (
    ("verdict", pa.string()),
    ("reason", pa.string()),
    ("detail", pa.string()),
    ("witness", pa.string()),
    ("similarity", pa.float64()),
)
"""What admission says of a row: the kept row that it repeats is its witness."""

_REJECTED_COLUMNS = (("split", pa.string()), *VERDICT_COLUMNS)


@dataclass(frozen=True, slots=True)
class Provenance:
    """The origin that every synthetic row of a run records."""

    models: Models
    recipe: str
    ask_digest: str


@dataclass(frozen=True, slots=True)
class RowShape:
    """Converts staged rows to published rows.

    `columns` are promoted out of the JSON object `fields`; `partition_values` are the columns that become folders, each with its
    closed list of values. A value that does not fit its column's type or closed list is null in the column and stays in `fields`,
    so that nothing is lost and no path contains a row's text. With `reasoning`, rows have what the model thought in columns of
    its own and in their messages.
    """

    provenance: Provenance
    columns: Mapping[str, str] = field(default_factory=dict)
    partition_values: Mapping[str, list[str]] = field(default_factory=dict)
    reasoning: bool = False

    def __post_init__(self) -> None:
        own = [name for name, kind in self._promoted().items() if kind != TOP_K]
        if taken := [name for name in own if name in TOP_K_COLUMNS and TOP_K in self.columns.values()]:
            raise JobError(f"column '{taken[0]}': wanted a name of your own, got one of top_k_logprobs' columns; rename it")
        for name, kind in self._promoted().items():
            if name in RESERVED:
                raise JobError(f"column '{name}': wanted a name the dataset does not have, got its own; rename the field")
            if self.reasoning and name in self.partition_values and name in _THOUGHT_NAMES:
                raise JobError(f"output.partition_by: wanted a column of few values, got '{name}', a thought's; take another")
            if name in self.partition_values and kind not in ("string", "json"):
                raise JobError(f"output.partition_by: wanted '{name}' to be a string column, got {kind}; change its type")

    @classmethod
    def of(
        cls, output: Output, *, provenance: Provenance, recipe_columns: Mapping[str, str], reasoning: bool = False
    ) -> RowShape:
        """The shape of a job's rows. A column type declared by the job overrides the recipe's."""
        return cls(provenance, {**recipe_columns, **output.columns}, output.partition_by, reasoning)

    def _promoted(self) -> dict[str, str]:
        """The fields that become columns. Where rows have thoughts, a seed's field of that name stays in `fields`."""
        promoted = {**self.columns, **{name: "string" for name in self.partition_values if name not in self.columns}}
        taken = _THOUGHT_NAMES.difference(self.partition_values) if self.reasoning else ()
        return {name: kind for name, kind in promoted.items() if name not in taken}

    @property
    def accepted_schema(self) -> pa.Schema:
        """The schema of an accepted row. `split` is not in the file: the folder's name has it."""
        promoted = [column for name, kind in self._promoted().items() for column in _columns_of(name, kind)]
        schema = pa.schema([*_COLUMNS_BEFORE, *(_THOUGHT_COLUMNS if self.reasoning else []), *promoted, *_COLUMNS_AFTER])
        return schema.set(1, pa.field("messages", THOUGHT_MESSAGES)) if self.reasoning else schema

    @property
    def rejected_schema(self) -> pa.Schema:
        """The schema of a rejected or failed row: an accepted row's, with the verdict's columns."""
        return pa.schema([*self.accepted_schema, *(pa.field(*column) for column in _REJECTED_COLUMNS)])

    def accepted(self, staged: pa.Table) -> pa.Table:
        """The published form of accepted rows. `staged` needs at least the columns of `records.STAGED`."""
        return self._shaped(staged, self.accepted_schema)

    def rejected(self, staged: pa.Table) -> pa.Table:
        """The published form of rows with `verdict` and `reason`, and with `witness` and `similarity` where known."""
        return self._shaped(staged, self.rejected_schema)

    def _shaped(self, staged: pa.Table, schema: pa.Schema) -> pa.Table:
        columns = self._from_fields(staged) | self._provenance_columns(staged)
        columns |= top_k_columns(staged["top_k"]) if TOP_K in self.columns.values() else {}
        return pa.table([_typed(_column(field.name, columns, staged), field.type) for field in schema], schema=schema)

    def _provenance_columns(self, staged: pa.Table) -> dict[str, Any]:
        """Columns that are the same for a whole run. The teacher's are null for real rows; `ask_digest` is set in every row."""
        synthetic = pc.equal(staged["origin"], Origin.SYNTHETIC.value)
        null = pa.scalar(None, pa.string())
        facts, teachers = self.provenance, self.provenance.models.teachers
        constants = {"recipe": pa.scalar(facts.recipe, pa.string())}
        answered = (
            [facts.models.teacher_index_of(request) for request in staged["request"].to_pylist()] if len(teachers) > 1 else None
        )
        for name, values in (
            ("teacher", [teacher.name for teacher in teachers]),
            ("revision", [teacher.revision for teacher in teachers]),
        ):
            constants[name] = pa.array(values, pa.string()).take(pa.array(answered)) if answered else pa.scalar(values[0])
        columns = {name: pc.if_else(synthetic, value, null) for name, value in constants.items()}
        return columns | {"ask_digest": pa.array([facts.ask_digest] * staged.num_rows, pa.string())}

    def _from_fields(self, staged: pa.Table) -> dict[str, Any]:
        promoted = {name: kind for name, kind in self._promoted().items() if kind not in NOT_FROM_FIELDS}
        if not promoted:
            return {}
        values: dict[str, list[Any]] = {name: [] for name in promoted}
        rest: list[str] = []
        for fields in fields_of(staged):
            for name, kind in promoted.items():
                values[name].append(self._promote(fields, name, kind))
            rest.append(canonical_json(fields).decode())
        columns = {name: pa.array(values[name], _TYPES[kind]) for name, kind in promoted.items()}
        return columns | {"fields": pa.array(rest, pa.string())}

    def _promote(self, fields: dict[str, Any], name: str, kind: str) -> Any:
        value = _CONVERTERS[kind](fields.get(name))
        if value is None or (name in self.partition_values and value not in self.partition_values[name]):
            return None
        del fields[name]
        return value


def _columns_of(name: str, kind: str) -> list[tuple[str, pa.DataType]]:
    return list(TOP_K_COLUMNS.items()) if kind == TOP_K else [(name, _TYPES[kind])]


def _column(name: str, columns: Mapping[str, Any], staged: pa.Table) -> Any:
    if name in columns:
        return columns[name]
    return staged[name] if name in staged.column_names else pa.nulls(staged.num_rows)


def _typed(column: Any, kind: pa.DataType) -> Any:
    return column if column.type == kind else column.cast(kind)


def _int(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63 else None


def _float(value: Any) -> float | None:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return float(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= 2**53 else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _json(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else canonical_json(value).decode()


def _bool(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _texts(value: Any) -> list[str] | None:
    return value if isinstance(value, list) and all(isinstance(v, str) for v in value) else None


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "string": _text,
    "int": _int,
    "float": _float,
    "bool": _bool,
    "strings": _texts,
    "json": _json,
}
