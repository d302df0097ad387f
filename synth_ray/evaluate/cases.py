"""Cases: what is asked, and what an answer is compared with. From a dataset's evaluation splits, or from any file of rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from synth_ray.dataset.manifest import PATH as MANIFEST
from synth_ray.dataset.manifest import read_manifest
from synth_ray.errors import JobError, ObjectNotFound, StorageError
from synth_ray.job.seeds import Source
from synth_ray.plan.folders import fields_of_folders
from synth_ray.plan.rows import is_data
from synth_ray.plan.seeds import RejectedSeed, read_seeds
from synth_ray.plan.shapes import NoField, WrongType, canonical_fields
from synth_ray.recipes.contract import conversation
from synth_ray.recipes.json_schema import require_schema
from synth_ray.records import EVAL_SPLITS, Message, Reason, canonical_json, digest
from synth_ray.storage import Storage, is_remote, open_storage
from synth_ray.storage.job_files import files_at, open_input

VERIFIERS = ("label", "exact", "schema", "code", "arithmetic", "judge")

_EXPECTED = ("answer", "expected", "label")
_GROUPS = ("split", "origin", "category", "class", "kind")
_LONGEST_GROUP = 80
_RECIPE_VERIFIERS = {"label": "label"}
"""How the rows of a recipe's dataset are verified, real ones too, where that is certain: those of `label` have labels."""


@dataclass(frozen=True, slots=True)
class Case:
    """One case. `verify` is its own choice of a verifier, empty where it makes none. `grade` says in a sentence how to tell a
    right answer from a wrong one. `groups` are the values by which results are summed up. `place` is its file and line.
    """

    id: str
    messages: list[Message]
    expected: str | None = None
    verify: str = ""
    schema: Mapping[str, Any] | None = None
    tests: str = ""
    grade: str = ""
    groups: Mapping[str, str] = field(default_factory=dict)
    place: str = ""

    @property
    def digest(self) -> str:
        """Changes with everything that decides the case: two results are compared only where it is the same."""
        return digest("case", self.messages, self.expected, self.verify, self.schema, self.tests, self.grade)


@dataclass(frozen=True, slots=True)
class Cases:
    """All cases in the order of their source, with ids of their own. `repeated` rows say again what an earlier one says."""

    cases: list[Case]
    repeated: int = 0


def read_cases(source: Source, *, splits: Sequence[str] = (), by: Sequence[str] = ()) -> Cases:
    """The cases at a place: an output prefix of synth_ray, of which `splits` are read (validation and test when empty), or files
    of rows. `by` names further fields to sum results up by.

    Raises JobError for a row that cannot be a case: nobody should evaluate on less than they think.
    """
    dataset = _dataset_at(source.path)
    if dataset is not None:
        rows, repeated = _limited(_dataset_rows(dataset, splits or EVAL_SPLITS), source.limit), 0
    else:
        rows, repeated = _file_rows(source, splits)
    cases = [_case(fields, name, place, by) for place, name, fields in rows]
    if not cases:
        which = f" of split {', '.join(splits or EVAL_SPLITS)}" if splits or dataset is not None else ""
        raise JobError(f"{source.path}: wanted at least one case{which}, got none; name another place, or --split")
    _refuse_repeated_ids(cases)
    return Cases(cases, repeated)


Row = tuple[str, str, dict[str, Any]]
"""Where a row is, the id that its content gives it, and its canonical fields."""


def _limited(rows: Iterable[Row], limit: int | None) -> list[Row]:
    return list(rows)[:limit]


def _dataset_at(address: str) -> Storage | None:
    """The store of the dataset at an address; None where there is none."""
    if "://" in address and not address.startswith("file://") and not is_remote(address):
        return None
    try:
        storage = open_storage(address)
        return storage if storage.exists(MANIFEST) else None
    except StorageError as error:
        raise JobError(str(error)) from None


def _dataset_rows(dataset: Storage, splits: Sequence[str]) -> Iterator[Row]:
    manifest = read_manifest(dataset)
    for file in manifest.files:
        if file.split not in splits:
            continue
        place = f"{dataset.url}/{file.path}"
        for number, row in enumerate(_parquet_rows(dataset, file.path), 1):
            fields = _canonical(row, f"{place}:{number}")
            own = json.loads(fields.pop("fields", None) or "{}")
            fields = {**fields_of_folders(file.path), **own, **fields, "split": file.split}
            if manifest.recipe in _RECIPE_VERIFIERS:
                fields.setdefault("verify", _RECIPE_VERIFIERS[manifest.recipe])
            yield f"{place}:{number}", row["id"], fields


def _parquet_rows(dataset: Storage, path: str) -> Iterator[dict[str, Any]]:
    try:
        with dataset.open_input(path) as opened:
            for batch in pq.ParquetFile(opened).iter_batches(1024):
                yield from batch.to_pylist()
    except (ObjectNotFound, pa.ArrowException, OSError):
        raise JobError(
            f"{dataset.url}/{path}: wanted a part of the dataset, got none or a broken one; run its job again"
        ) from None


def _canonical(row: Mapping[str, Any], place: str) -> dict[str, Any]:
    try:
        return canonical_fields(row, shape="auto", mapping={})
    except (NoField, WrongType) as error:
        raise JobError(
            f"{place}: wanted a conversation to ask, got a row without ({type(error).__name__}); leave it out"
        ) from None


def _file_rows(source: Source, splits: Sequence[str]) -> tuple[list[Row], int]:
    rows: list[Row] = []
    repeated = 0
    for seed in read_seeds(source, paths=files_at(source.path, is_data=is_data), open_file=open_input, seen=set()):
        if not isinstance(seed, RejectedSeed):
            if not splits or seed.fields.get("split") in splits:
                rows.append((f"{seed.source}:{seed.line}", seed.id, seed.fields))
        elif seed.reason is Reason.DUPLICATE_SEED:
            repeated += 1
        else:
            why = f"{seed.reason}{f' ({seed.detail})' if seed.detail else ''}"
            raise JobError(f"{seed.file}:{seed.line}: wanted a case, got {why}; fix the row, or name its columns with --field")
    return rows, repeated


def _case(fields: dict[str, Any], content_id: str, place: str, by: Sequence[str]) -> Case:
    verify = str(fields.get("verify") or "")
    if verify and verify not in VERIFIERS:
        raise JobError(f"{place}: verify: wanted one of {', '.join(VERIFIERS)}, got another word; fix the row")
    own = fields.get("id")
    return Case(
        id=str(own) if isinstance(own, (str, int)) and not isinstance(own, bool) and str(own).strip() else content_id,
        messages=_messages(fields),
        expected=next((text for name in _EXPECTED if (text := _text(fields.get(name))).strip()), None),
        verify=verify,
        schema=_schema(fields.get("schema"), place),
        tests=_text(fields.get("tests")),
        grade=_text(fields.get("grade")),
        groups=_groups(fields, by),
        place=place,
    )


def _messages(fields: Mapping[str, Any]) -> list[Message]:
    """Everything that was said before the answer."""
    if fields.get("messages"):
        return [*fields["messages"], *(fields.get("tool_turns") or [])]
    system = fields.get("system")
    return conversation(system if isinstance(system, str) else "", fields["prompt"])


def _text(value: Any) -> str:
    """A value as text: a text as it is, nothing as an empty one, anything else as JSON."""
    if value is None or isinstance(value, str):
        return value or ""
    return canonical_json(value).decode()


def _schema(value: Any, place: str) -> Mapping[str, Any] | None:
    """The case's JSON Schema: an object, or its text. Raises JobError where it is none."""
    if value is None or value == "":
        return None
    try:
        schema = json.loads(value) if isinstance(value, str) else value
        if not isinstance(schema, dict):
            raise ValueError(f"wanted an object, got {type(schema).__name__}")
        return require_schema(schema)
    except json.JSONDecodeError:
        raise JobError(f"{place}: schema: wanted a JSON Schema, got text that is not JSON; fix the row") from None
    except (ValueError, RecursionError) as error:
        raise JobError(f"{place}: schema: {str(error) or 'wanted a JSON Schema, got one that is nested too deeply'}") from None


def _groups(fields: Mapping[str, Any], by: Sequence[str]) -> dict[str, str]:
    """The values to sum up by: of well-known fields, of those that `by` names, and of the attributes that `edge_cases` drew."""
    drawn = _object(fields.get("attributes"))
    values = {name: fields.get(name) for name in dict.fromkeys((*_GROUPS, *by))} | drawn
    return {
        name: _text(value)[:_LONGEST_GROUP] for name, value in values.items() if isinstance(value, (str, int)) and value != ""
    }


def _object(value: Any) -> dict[str, Any]:
    """The object in a column of JSON; none where there is none."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}


def _refuse_repeated_ids(cases: list[Case]) -> None:
    seen: dict[str, Case] = {}
    for case in cases:
        if case.id in seen:
            raise JobError(f"{case.place}: id: wanted another id for every case, got that of {seen[case.id].place}; change one")
        seen[case.id] = case
