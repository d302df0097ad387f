"""Columns of a chunk's rows: read as one column or object by object, they are the same."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_ray.dedup.fingerprint import word_counts
from synth_ray.publish.classes import labels
from synth_ray.publish.profiling import role_sequences, words_in
from synth_ray.publish.row_view import RowView, text_fields
from synth_ray.quality.value_counts import encode
from synth_ray.records import STAGED, canonical_json
from tests.rows import staged_row

VALUES = st.one_of(st.none(), st.text(), st.integers(), st.floats(), st.booleans(), st.lists(st.text(), max_size=2))
OBJECTS = st.dictionaries(st.sampled_from(["label", "category", "other", 'a "quoted"\nname']), VALUES)
PREPARED: Any = SimpleNamespace(
    job=SimpleNamespace(
        quality=SimpleNamespace(label=""),
        check=SimpleNamespace(verify=""),
        target=SimpleNamespace(balance=None),
        split=SimpleNamespace(stratify=""),
    ),
    recipe=SimpleNamespace(
        label_words=lambda _: 0, alike=lambda _: (), shield=lambda _: None, columns=lambda _: {}, schema=lambda _: None
    ),
    options=None,
)


def rows_of(objects: list[dict[str, Any]]) -> pa.Table:
    fields = [canonical_json(value).decode() if value else None for value in objects]
    return pa.Table.from_pylist([staged_row(n, fields=text) for n, text in enumerate(fields)], schema=STAGED)


@settings(deadline=None)
@given(objects=st.lists(OBJECTS, max_size=8))
def test_classes_are_the_same_however_they_are_read(objects: list[dict[str, Any]]) -> None:
    rows = rows_of(objects)
    assert [label or "" for label in RowView(PREPARED, rows).labels.to_pylist()] == labels(PREPARED, rows)


@settings(deadline=None)
@given(texts=st.lists(st.one_of(st.none(), st.text()), min_size=1, max_size=8))
def test_texts_of_fields_are_read_as_columns(texts: list[str | None]) -> None:
    rows = rows_of([{"label": text, "deep": json.loads("[" * 300 + "]" * 300)} for text in texts])
    assert [column.to_pylist() for column in text_fields(rows["fields"], ["label", "absent"]) or []] == [
        texts,
        [None] * len(texts),
    ]
    assert RowView(PREPARED, rows).texts("label").to_pylist() == texts


@given(counts=st.lists(st.one_of(st.none(), st.tuples(st.integers(0, 5), st.integers(0, 5))), max_size=8))
def test_words_of_prompt_and_completion_are_counted(counts: list[tuple[int, int] | None]) -> None:
    packed = [np.array([7] * n[0] + [0] + [9] * n[1], np.uint32).tobytes() if n else None for n in counts]
    prompts, completions = words_in(pa.chunked_array([pa.array(packed, pa.binary())]))
    assert [None if np.isnan(n) else n for n in prompts] == [n[0] if n else None for n in counts]
    assert [None if np.isnan(n) else n for n in completions] == [n[1] if n else None for n in counts]
    assert list(zip(*(n.tolist() for n in word_counts(pa.array(packed, pa.binary()))), strict=True)) == [
        n or (0, 0) for n in counts
    ]


@given(turns=st.lists(st.lists(st.sampled_from(["system", "user", "assistant", "tool"]), max_size=15), max_size=12))
def test_the_roles_of_a_row_are_in_their_order(turns: list[list[str]]) -> None:
    roles = encode([role for row in turns for role in row])
    ends = np.concatenate(([0], np.cumsum([len(row) for row in turns]))).astype(np.int64)
    assert role_sequences(roles, ends).to_pylist() == [" ".join(row[:12]) + " …" * (len(row) > 12) for row in turns]
