"""Which rows of a staged table must be scanned: in most texts one look at all of them shows that nothing is to be found."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synth_ray.scrub.replace.leaves import leaves_of

Array = np.ndarray[Any, Any]


def rows_to_scan(staged: pa.Table, without_findings: Callable[[Sequence[str]], Sequence[bool]]) -> Array:
    """The rows, ascending, in a string of which something may be found. Each distinct text is looked at once: a prompt is also a
    turn of its conversation.
    """
    columns = [*_turns(staged["messages"]), *((staged[name], None) for name in ("prompt", "completion", "reasoning"))]
    encoded = pa.chunked_array([chunk for column, _ in columns for chunk in column.chunks], pa.string()).combine_chunks()
    encoded = encoded.dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    fields = staged["fields"].combine_chunks().dictionary_encode()
    of_fields = [_strings_in(text) for text in fields.dictionary.to_pylist()]
    own = sorted({text for strings in of_fields for text in strings or ()})
    nothing = without_findings([*texts, *own])
    rows = np.concatenate([np.arange(len(column)) if rows is None else rows for column, rows in columns])
    known = dict(zip(own, nothing[len(texts) :], strict=True))
    fields_are_clean = [strings is not None and all(known[text] for text in strings) for strings in of_fields]
    texts_of, fields_of = _open(encoded, nothing[: len(texts)]), _open(fields, fields_are_clean)
    return np.unique(np.concatenate([rows[texts_of], np.flatnonzero(fields_of)]))


def _turns(messages: pa.ChunkedArray) -> list[tuple[pa.ChunkedArray, Array]]:
    """The contents and thoughts of all turns, each with the row it is of."""
    counts = pc.fill_null(pc.list_value_length(messages), 0).to_numpy()
    rows = np.repeat(np.arange(len(messages)), counts)
    turns = pc.list_flatten(messages)
    names = [field.name for field in turns.type]
    return [(pc.struct_field(turns, name), rows) for name in ("content", "reasoning") if name in names]


def _open(encoded: pa.DictionaryArray, nothing: Sequence[bool]) -> Array:
    """Where something may be found in a value. In none of a null."""
    found = np.append(~np.asarray(nothing, bool), False)
    codes = np.asarray(pc.fill_null(encoded.indices, len(nothing)))
    opened: Array = found[codes]
    return opened


def _strings_in(fields: str | None) -> list[str] | None:
    """What is scanned of a row's own columns; None of those that cannot be taken apart."""
    try:
        return [leaf.with_key_words(leaf.text) for leaf in leaves_of(parsed_fields(fields)) if leaf.text]
    except RecursionError:
        return None


def parsed_fields(fields: str | None) -> Any:
    """A row's own columns; where they are no JSON, their text."""
    if not fields or fields == "{}":
        return None
    try:
        return json.loads(fields)
    except (ValueError, RecursionError):
        return fields
