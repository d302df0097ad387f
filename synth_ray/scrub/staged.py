"""Scrubs the rows of a staged table as records. Rows without findings are not changed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from synth_ray.records import STAGED, Reason, canonical_json, texts_of_turns
from synth_ray.scrub.replace.fixpoint import ScrubState
from synth_ray.scrub.replace.leaves import Leaf, Path, rebuild
from synth_ray.scrub.sifting import Array, parsed_fields

logger = logging.getLogger(__name__)

_TEXT = ("messages", "prompt", "completion", "reasoning", "fields")
_CHANGED = (*_TEXT, "logprobs", "reason", "detail", "flags", "pii")
"""Columns that are written again. `logprobs` spell thought and answer; `top_k` spells the prompt too, and is null in any row of
which something was replaced.
"""


def scrubbed_table(
    staged: pa.Table,
    rows: Array,
    *,
    scrub_all: Callable[[Sequence[Any]], list[ScrubState]],
    exceeds_limit: Callable[[ScrubState], bool],
) -> pa.Table:
    """The table with the text of these rows scrubbed; the others have nothing to find. Counts are added to those a row has."""
    records = scrub_all(_values(staged.select(_TEXT).take(pa.array(rows)))) if len(rows) else []
    found = [place for place, record in enumerate(records) if record.failed or record.counts]
    if not found:
        return staged
    dirty, records = rows[found], [records[place] for place in found]
    part = staged.select(_CHANGED).take(pa.array(dirty))
    columns = {name: part[name].to_pylist() for name in _CHANGED}
    for i, record in enumerate(records):
        if record.failed:
            logger.warning("scrub: row %s is kept without text: %s", staged["id"][int(dirty[i])].as_py(), record.failed)
            _quarantine(columns, i, record)
        else:
            _write(columns, i, record, exceeds_limit=exceeds_limit(record))
    changed = [
        row
        for row, record in zip(dirty.tolist(), records, strict=True)
        if record.failed or rebuild(record.value, _replace_from(record)) != record.value
    ]
    staged = staged.set_column(staged.schema.get_field_index("top_k"), STAGED.field("top_k"), _without(staged["top_k"], changed))
    places = np.arange(staged.num_rows)
    places[dirty] = staged.num_rows + np.arange(len(dirty))
    for name in _CHANGED:
        at = staged.schema.get_field_index(name)
        both = pa.concat_arrays([*staged[name].chunks, _array(name, columns[name])])
        staged = staged.set_column(at, STAGED.field(name), pa.chunked_array([both.take(pa.array(places))]))
    return staged


def _values(rows: pa.Table) -> list[list[Any]]:
    columns = [rows[name].to_pylist() for name in _TEXT[1:]]
    turns = (texts_of_turns(rows["messages"], name) for name in ("content", "reasoning"))
    return [_value(*row) for row in zip(*turns, *columns, strict=True)]


def _value(
    contents: list[Any],
    thoughts: list[Any],
    prompt: str | None,
    completion: str | None,
    thought: str | None,
    fields: str | None,
) -> list[Any]:
    """The strings of a row as one nested value. Roles are not text. Without a thought, the value is as if none existed."""
    value = [contents, prompt, completion, parsed_fields(fields)]
    return [*value, thought, thoughts] if thought or any(thoughts) else value


def _write(columns: dict[str, list[Any]], i: int, record: ScrubState, *, exceeds_limit: bool) -> None:
    contents, prompt, completion, fields, *thoughts = rebuild(record.value, _replace_from(record))
    thought, of_turns = thoughts or (columns["reasoning"][i], [None] * len(contents))
    if columns["messages"][i] is not None:
        turns = zip(columns["messages"][i], contents, of_turns, strict=True)
        columns["messages"][i] = [{**old, "content": new, "reasoning": of_turn} for old, new, of_turn in turns]
    columns["prompt"][i], columns["completion"][i], columns["reasoning"][i] = prompt, completion, thought
    if [completion, fields, *thoughts] != record.value[2:]:
        columns["logprobs"][i] = None
    if fields is not None and fields != record.value[3]:
        columns["fields"][i] = fields if isinstance(record.value[3], str) else canonical_json(fields).decode()
    counts = dict(columns["pii"][i] or ())
    for entity, count in record.counts.items():
        counts[entity] = counts.get(entity, 0) + count
    columns["pii"][i] = sorted(counts.items())
    if exceeds_limit:
        _flag(columns, i, Reason.TOO_MUCH_PII, f"{sum(record.counts.values())} findings")


def _replace_from(record: ScrubState) -> Callable[[Leaf, Path], str]:
    def replace(leaf: Leaf, _: Path) -> str:
        now = record.replaced.get(leaf)
        return leaf.text if now is None else now.text

    return replace


def _quarantine(columns: dict[str, list[Any]], i: int, record: ScrubState) -> None:
    """Drop all text of the row, and record its lengths in `detail`."""
    messages = columns["messages"][i] or ()
    lengths = {
        "messages": sum(len(m["content"] or "") + len(m.get("reasoning") or "") for m in messages),
        **{name: len(columns[name][i] or "") for name in _TEXT if name != "messages"},
    }
    sizes = ", ".join(f"{name} {n}" for name, n in lengths.items() if n or name != "reasoning")
    columns["messages"][i], columns["prompt"][i], columns["completion"][i], columns["fields"][i] = [], "", "", "{}"
    for name in ("reasoning", "logprobs"):
        columns[name][i] = None
    _flag(columns, i, Reason.SCRUB_FAILED, f"{record.failed}; characters: {sizes}")


def _flag(columns: dict[str, list[Any]], i: int, reason: Reason, detail: str) -> None:
    """Add a flag. The row keeps its first reason."""
    flags = columns["flags"][i] or []
    columns["flags"][i] = flags if reason.value in flags else [*flags, reason.value]
    if columns["reason"][i] is None:
        columns["reason"][i] = reason.value
    if columns["reason"][i] == reason.value:
        columns["detail"][i] = detail


def _without(column: Any, rows: Sequence[int]) -> Any:
    """The column with null in these rows: token ids spell the text that was replaced, in the prompt as in the answer."""
    if column.null_count == len(column):
        return column
    keep = np.arange(len(column))
    mask = np.zeros(len(column), bool)
    mask[list(rows)] = True
    return column.take(pa.array(keep, mask=mask))


def _array(name: str, values: list[Any]) -> pa.Array:
    return pa.array(values, STAGED.field(name).type)
