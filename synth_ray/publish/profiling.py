"""The profile of a version's columns, filled chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synth_ray.check.language import open_language_reader
from synth_ray.dataset.schema import NOT_FROM_FIELDS
from synth_ray.dedup.fingerprint import word_counts
from synth_ray.publish.row_view import RowView, field_numbers, messages_of, numbers_of
from synth_ray.quality.number_counts import NumberCounts, edges_of
from synth_ray.quality.profile import Profile
from synth_ray.quality.sample import RowSample, SampledRow
from synth_ray.quality.value_counts import Array, encode
from synth_ray.recipes.markup import CALL_BEGIN

_SHOWN_ROLES = 12
_POWERS = np.array([pow(0x9E3779B97F4A7C15, place + 1, 2**64) for place in range(_SHOWN_ROLES + 1)], np.uint64)
"""Of an odd number: the sum of codes times powers differs where the sequences differ, but for chance."""


_LANGUAGE_ROWS = 300
_COMPUTED = frozenset(
    [f"{text}_{unit}" for text in ("prompt", "completion") for unit in ("tokens", "words", "characters")]
    + ["reasoning_tokens", "reasoning_characters", "class", "finish_reason", "roles", "similarity", "tool_calls", "turns"]
)


class ProfileObserver:
    """Fills a profile. `columns` are the columns that recipe and job declare, with their types; the values of `classes` are
    from a closed set and may all be shown.

    One that is named like what is computed of every row is left out: the name stands for the computed values.
    Languages are told of a sample: the completions of the _LANGUAGE_ROWS rows with the smallest ids of each cell.
    """

    def __init__(self, columns: Mapping[str, str], *, classes: Set[str], tells_languages: bool = False) -> None:
        computed = _COMPUTED | ({"language"} if tells_languages else set())
        self._columns = {name: kind for name, kind in columns.items() if kind not in NOT_FROM_FIELDS and name not in computed}
        self._classes = classes
        self.profile = Profile()
        self._tells_languages = tells_languages
        self._similarities = NumberCounts(exact=False)
        self._sampled: dict[int, RowSample] = {}

    def add(self, view: RowView, cells: Array) -> None:
        """The accepted rows, under these cells (one for each row of the view)."""
        chosen = view.accepted
        cells = cells[chosen]
        if not len(cells):
            return
        self.profile.count_rows(cells)
        for name, unit, lengths in _lengths(view.table):
            self.profile.add_numbers(name, cells, lengths[chosen], unit=unit)
        self._add_messages(view.table, chosen, cells)
        mask = pa.array(chosen)
        self.profile.add_values("finish_reason", cells, view.table["finish_reason"].filter(mask))
        self.profile.add_values("class", cells, view.labels.filter(mask))
        for name, kind in self._columns.items():
            self._add_column(name, kind, view, cells)
        if self._tells_languages:
            self._sample_completions(view.table.select(["id", "completion"]).filter(mask), cells)

    def add_similarities(self, view: RowView) -> None:
        """How alike the rejected rows are to the kept rows that they repeat."""
        alike = pc.drop_null(view.table["similarity"].filter(pa.array(~view.accepted)))
        if len(alike):
            self._similarities.add(np.zeros(len(alike), np.int64), alike.to_numpy())

    def _sample_completions(self, rows: pa.Table, cells: Array) -> None:
        for cell in np.unique(cells).tolist():
            sample = self._sampled.setdefault(cell, RowSample(_LANGUAGE_ROWS))
            small = rows.filter(pc.and_(pa.array(cells == cell), pc.less(rows["id"], sample.limit)))
            texts = zip(small["id"].to_pylist(), small["completion"].to_pylist(), strict=True)
            sample.add(SampledRow(name, text or "") for name, text in texts)

    def summary(self) -> dict[str, Any]:
        """The manifest's `profile`."""
        if self._tells_languages:
            language = open_language_reader()
            for cell, sample in self._sampled.items():
                told = [language(row.text) for row in sample.rows]
                self.profile.add_values("language", np.full(len(told), cell), told)
        summary = self.profile.summary()
        columns = summary.get("columns", {})
        if not any(stats.get("max") for stats in columns.get("tool_calls", {}).values()):
            columns.pop("tool_calls", None)
        if self._similarities.rows([0]):
            stats = self._similarities.stats([0], edges_of(self._similarities.counted([0])))
            columns["similarity"] = {"synthetic": {"kind": "number"} | stats}
        return summary

    def _add_messages(self, rows: pa.Table, chosen: Array, cells: Array) -> None:
        messages, ends = messages_of(rows)
        self.profile.add_numbers("turns", cells, np.diff(ends).astype(np.float64)[chosen])
        roles = encode(pc.fill_null(messages.field("role"), ""))
        self.profile.add_values("roles", cells, role_sequences(roles, ends).filter(pa.array(chosen)))
        self.profile.add_numbers("tool_calls", cells, _tool_calls(messages, ends)[chosen])

    def _add_column(self, name: str, kind: str, view: RowView, cells: Array) -> None:
        chosen = view.accepted
        if kind in ("int", "float"):
            self.profile.add_numbers(name, cells, field_numbers(view.fields, name)[chosen])
        elif kind == "strings":
            values = (row.get(name) for row in view.fields)
            lengths = [float(len(value)) if isinstance(value, list) else np.nan for value in values]
            self.profile.add_numbers(name, cells, np.array(lengths, np.float64)[chosen])
        else:
            texts = view.texts(name).filter(pa.array(chosen))
            self.profile.add_texts(name, cells, texts, are_classes=name in self._classes)


def _lengths(rows: pa.Table) -> Iterator[tuple[str, str, Array]]:
    """(column, unit, length of each row)."""
    for name in ("prompt_tokens", "completion_tokens"):
        tokens = numbers_of(rows, name)
        yield name, "tokens", np.where(tokens > 0, tokens, np.nan)  # nobody counted those of a real row
    for name, words in zip(("prompt_words", "completion_words"), words_in(rows["ngrams"]), strict=True):
        yield name, "words", words
    for name in ("prompt", "completion"):
        yield f"{name}_characters", "characters", np.asarray(pc.fill_null(pc.utf8_length(rows[name]), 0)).astype(np.float64)
    if rows["reasoning"].null_count < rows.num_rows:  # of the rows that have a thought
        tokens = numbers_of(rows, "reasoning_tokens")
        yield "reasoning_tokens", "tokens", np.where(tokens > 0, tokens, np.nan)
        yield (
            "reasoning_characters",
            "characters",
            np.asarray(pc.cast(pc.utf8_length(rows["reasoning"]), pa.float64()).fill_null(np.nan)),
        )


def _tool_calls(messages: pa.StructArray, ends: Array) -> Array:
    """The number of tool calls of each row: in the turns of the assistant."""
    texts = messages.field("content")
    if not _holds(texts, CALL_BEGIN.encode()):
        return np.zeros(len(ends) - 1)
    said = pc.if_else(pc.equal(messages.field("role"), "assistant"), texts, "")
    calls = np.asarray(pc.count_substring(pc.fill_null(said, ""), CALL_BEGIN))
    return np.diff(np.concatenate(([0], np.cumsum(calls)))[ends]).astype(np.float64)


def _holds(texts: pa.StringArray, part: bytes) -> bool:
    """Whether any text may hold this part: one search through all of them, much faster than one in each."""
    data = texts.buffers()[2]
    return data is not None and data.to_pybytes().find(part) >= 0


def words_in(ngrams: pa.ChunkedArray) -> tuple[Array, Array]:
    """The number of words of each row's prompt and completion, as fingerprints count them; NaN for a row without any."""
    prompt, completion = word_counts(ngrams)
    missing = np.asarray(pc.fill_null(pc.binary_length(ngrams), 0)) == 0
    return np.where(missing, np.nan, prompt), np.where(missing, np.nan, completion)


def role_sequences(roles: pa.DictionaryArray, ends: Array) -> pa.DictionaryArray:
    """The roles of each row in their order, such as "system user assistant"; of a long conversation the first."""
    counts = np.diff(ends)
    codes = np.asarray(roles.indices).astype(np.uint64) + np.uint64(1)
    places = np.arange(len(codes)) - np.repeat(ends[:-1], counts)
    shown = places < _SHOWN_ROLES
    terms = np.where(shown, codes * _POWERS[np.minimum(places, _SHOWN_ROLES)], np.uint64(0))
    sums = np.concatenate((np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)))
    keys = (sums[ends[1:]] - sums[ends[:-1]]) * np.uint64(2) + (counts > _SHOWN_ROLES).astype(np.uint64)
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    names = roles.dictionary.to_pylist()
    texts = []
    for row in first.tolist():
        start, end = int(ends[row]), int(ends[row + 1])
        own = " ".join(names[int(code) - 1] for code in codes[start : min(end, start + _SHOWN_ROLES)])
        texts.append(f"{own} …" if end - start > _SHOWN_ROLES else own)
    return pa.DictionaryArray.from_arrays(pa.array(inverse.astype(np.int32)), pa.array(texts, pa.string()))
