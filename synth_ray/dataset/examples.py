"""`_synth/examples.json`: a few whole rows of a version, for people who look at it. Small, and the same at every run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from synth_ray.dataset.manifest import Manifest, read_manifest
from synth_ray.errors import ObjectNotFound, StorageError
from synth_ray.records import canonical_json
from synth_ray.storage import Storage

PATH = "_synth/examples.json"
MAX_BYTES = 512_000
MAX_CHARACTERS = 600
MAX_MESSAGES = 20

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Limits:
    characters: int
    messages: int
    fields: int


_LIMITS = [
    _Limits(MAX_CHARACTERS, MAX_MESSAGES, 20),
    _Limits(300, 12, 12),
    _Limits(120, 8, 8),
    _Limits(40, 4, 4),
    _Limits(8, 2, 1),
]
"""From wide to narrow: the first with which the file is not too large."""


@dataclass(frozen=True, slots=True)
class Examples:
    """`accepted` rows; rows `rejected` or failed, by reason, each with its `witness`; rows at the `edges` of a threshold."""

    accepted: list[Row] = field(default_factory=list)
    rejected: dict[str, list[Row]] = field(default_factory=dict)
    edges: list[dict[str, Any]] = field(default_factory=list)

    def _cut(self, limits: _Limits) -> dict[str, Any]:
        return {
            "accepted": [_short_row(row, limits) for row in self.accepted],
            "rejected": {reason: [_short_row(row, limits) for row in rows] for reason, rows in self.rejected.items()},
            "edges": [
                edge | {name: _short_row(edge[name], limits) for name in ("row", "beside") if edge.get(name)}
                for edge in self.edges
            ],
        }

    def to_bytes(self, version: Mapping[str, str]) -> bytes:
        """The file: at most MAX_BYTES, with texts of at most MAX_CHARACTERS."""
        for limits in _LIMITS:
            data = canonical_json(dict(version) | self._cut(limits))
            if len(data) <= MAX_BYTES:
                return data
        return canonical_json(dict(version) | Examples()._cut(_LIMITS[-1]))


def write_examples(storage: Storage, examples: Examples, manifest: Manifest) -> None:
    """Write the examples of a published version, in one step."""
    storage.write(PATH, examples.to_bytes(_version(manifest)))


def read_examples(storage: Storage, manifest: Manifest | None = None) -> dict[str, Any]:
    """`accepted`, `rejected` and `edges` of this version, by default the published one; empty where there are none, or only
    those of another version. Raises StorageError for a file that is no JSON object.
    """
    try:
        manifest = manifest or read_manifest(storage)
        data = storage.read(PATH)
    except ObjectNotFound:
        return {}
    try:
        found = json.loads(data)
        is_of_version = all(found.get(name) == value for name, value in _version(manifest).items())
    except (ValueError, AttributeError, RecursionError):
        raise StorageError(
            f"{storage.url}/{PATH}: wanted a JSON object, got something else; delete it, and `synth-ray curate` writes it again"
        ) from None
    return {name: found[name] for name in ("accepted", "rejected", "edges")} if is_of_version else {}


def _version(manifest: Manifest) -> dict[str, str]:
    """What tells versions apart: their accepted rows, and how the rows were decided."""
    return {"dataset_digest": manifest.dataset_digest, "job_digest": manifest.job_digest}


def _short_row(row: Row, limits: _Limits) -> Row:
    short = {name: _short_value(value, limits) for name, value in row.items() if name not in ("messages", "fields", "witness")}
    messages = row.get("messages") or []
    short["messages"] = list(_short_messages(messages, limits))
    if len(messages) > limits.messages:
        short["messages_in_all"] = len(messages)
    short["fields"] = _short_fields(row.get("fields") or {}, limits)
    if "witness" in row:
        short["witness"] = _short_row(row["witness"], limits) if row["witness"] else None
    return short


def _short_messages(messages: list[dict[str, Any]], limits: _Limits) -> Iterator[dict[str, str]]:
    """The first and the last messages: a conversation's opening and its answer."""
    half = limits.messages // 2
    for place, message in enumerate(messages):
        if place < half or place >= len(messages) - (limits.messages - half):
            names = ("role", "content", "reasoning") if message.get("reasoning") else ("role", "content")
            yield {name: short_text(message.get(name) or "", limits.characters) for name in names}


def _short_fields(fields: Mapping[str, Any], limits: _Limits) -> dict[str, Any]:
    names = sorted(fields)[: limits.fields]
    return {short_text(name, min(80, limits.characters)): _short_value(fields[name], limits) for name in names}


def _short_value(value: Any, limits: _Limits) -> Any:
    """A value that any JSON reader takes: what is no short text or plain number becomes its JSON text, cut."""
    if value is None or isinstance(value, bool) or (isinstance(value, int) and abs(value) <= 2**53):
        return value
    if isinstance(value, float) and value == value and abs(value) != float("inf"):
        return value
    return short_text(value if isinstance(value, str) else _json_text(value), limits.characters)


def _json_text(value: Any) -> str:
    try:
        return canonical_json(value).decode()
    except (RecursionError, ValueError):  # deeper than JSON can be written here, or a number of thousands of digits
        return f"({type(value).__name__})"


def short_text(text: str, characters: int) -> str:
    """At most so many characters, with an ellipsis for what is left out; a lone surrogate becomes its escape."""
    text = text[: characters + 1].encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= characters else text[: max(0, characters - 1)] + "…"
