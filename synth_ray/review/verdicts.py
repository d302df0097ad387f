"""Reads what people decided: forms as `synth-ray sample` writes them, filled in, one file per reviewer or one for all."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from synth_ray.errors import JobError

_ACCEPT = frozenset({"accept", "accepted", "good", "yes", "true", "1", "ok", "keep"})
_REJECT = frozenset({"reject", "rejected", "bad", "no", "false", "0", "drop"})


@dataclass(frozen=True, slots=True)
class Reviewed:
    """One reviewer's verdict on one row. `weight` is how many rows of the dataset it stands for."""

    id: str
    good: bool
    weight: float = 1.0


def read_verdicts(file: BinaryIO, *, name: str) -> list[list[Reviewed]]:
    """The verdicts in a CSV, JSONL or Argilla records file, by reviewer; rows without a verdict are left out.

    `name` is the file's, for its ending and for errors. Raises JobError, with the line, for a file without ids and verdicts, and
    for a verdict that is neither yes nor no.
    """
    text = file.read().decode("utf-8-sig", "replace")
    try:
        rows = list(_csv_rows(text) if name.casefold().endswith(".csv") else _json_rows(text))
    except (ValueError, csv.Error) as error:
        raise JobError(f"{name}: wanted a form as `synth-ray sample` writes it, got {type(error).__name__}; restore it") from None
    by_reviewer: dict[str, list[Reviewed]] = {}
    for place, row in rows:
        for reviewer, verdict in _verdicts_of(row, where=f"{name}:{place}"):
            by_reviewer.setdefault(reviewer, []).append(verdict)
    return [by_reviewer[reviewer] for reviewer in sorted(by_reviewer)]


def _csv_rows(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    for row in reader:
        yield reader.line_num, row


def _json_rows(text: str) -> Iterator[tuple[int, Any]]:
    if text.lstrip().startswith("["):  # Argilla's records, or a JSON array of rows
        yield from enumerate(json.loads(text), start=1)
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, json.loads(line)


def _verdicts_of(row: Any, *, where: str) -> Iterator[tuple[str, Reviewed]]:
    """Each verdict on the row with its reviewer; a form of one reviewer does not name it."""
    if not isinstance(row, Mapping) or not isinstance(row.get("id"), str) or not row["id"]:
        raise JobError(f"{where}: wanted a row with its `id` and a `verdict`, got none; fill in a form of `synth-ray sample`")
    metadata = row.get("metadata")
    weight = _number(row.get("weight") or (metadata.get("weight") if isinstance(metadata, Mapping) else None))
    for reviewer, value in _values(row):
        if str(value or "").strip():
            yield reviewer, Reviewed(row["id"], _good(value, where), weight)


def _values(row: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """(reviewer, verdict): the row's own, or Argilla's responses, one of each reviewer."""
    responses = row.get("responses")
    if not isinstance(responses, Mapping):
        return [("", row.get("verdict"))]
    given = responses.get("verdict")
    found = [response for response in given if isinstance(response, Mapping)] if isinstance(given, list) else []
    return [(str(response.get("user_id") or ""), response.get("value")) for response in found]


def _good(value: Any, where: str) -> bool:
    word = str(value).strip().casefold()
    if word not in _ACCEPT | _REJECT:
        raise JobError(f"{where}: wanted accept or reject as the verdict, got '{str(value)[:20]}'; correct it, or leave it empty")
    return word in _ACCEPT


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return 1.0
    return number if 0 < number < float("inf") else 1.0


def majority(reviews: Iterable[Sequence[Reviewed]]) -> dict[str, Reviewed]:
    """One verdict per row, by id: that of most reviewers. Rows with as many for as against are left out."""
    votes: dict[str, Counter[bool]] = {}
    weights: dict[str, float] = {}
    for reviewed in reviews:
        for verdict in reviewed:
            votes.setdefault(verdict.id, Counter())[verdict.good] += 1
            weights[verdict.id] = verdict.weight
    decided = {name: count for name, count in votes.items() if count[True] != count[False]}
    return {name: Reviewed(name, count[True] > count[False], weights[name]) for name, count in sorted(decided.items())}


def rejected_ids(reviews: Iterable[Sequence[Reviewed]]) -> frozenset[str]:
    """The rows that most of their reviewers rejected."""
    return frozenset(verdict.id for verdict in majority(reviews).values() if not verdict.good)
