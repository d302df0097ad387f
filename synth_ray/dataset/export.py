"""A dataset in a trainer's format.

Law: every row is written, or left out and counted with the reason; a failed export leaves no file.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from synth_ray.dataset.conversation import NotRepresentable, has_reasoning, thoughts_of
from synth_ray.dataset.distillation_formats import (
    BATCH_ROWS,
    TABLE_FORMATS,
    facts_or_refuse,
    refuse_other_tokenizer,
    sidecars,
    usable,
)
from synth_ray.dataset.formats import AS_THEY_ARE, FORMATS, sidecar_files
from synth_ray.dataset.manifest import File, Manifest
from synth_ray.dataset.reward_formats import IN_PARQUET, REWARD_FORMATS
from synth_ray.dataset.samples import ExportFiles, open_export
from synth_ray.dataset.thoughts import DEFAULT_PLACE, OTHERS_THINK, Place, placed
from synth_ray.dataset.top_k import TOP_K_COLUMNS
from synth_ray.errors import JobError
from synth_ray.records import canonical_json
from synth_ray.storage import Storage

_BATCH_ROWS = 1024


@dataclass(slots=True)
class SplitCounts:
    """What became of a split's rows. `without_reasoning` are rows written without what the assistant thought; `earlier_thoughts`
    rows written with a thought of an earlier turn, which most chat templates do not render.
    """

    rows: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    without_reasoning: int = 0
    earlier_thoughts: int = 0


def export_dataset(
    dataset: Storage, manifest: Manifest, target: Storage, name: str, *, thoughts: Place | None = None, student: str = ""
) -> dict[str, SplitCounts]:
    """Write every split in the format `name`, thoughts where `thoughts` says or the format has them. Raises JobError if the
    format can hold no row or no thoughts there, if a part of the dataset is broken, or if the tokenizer of `student`, a folder,
    is not that of the dataset's token ids; then no file is left.
    """
    place = _place(name, thoughts)
    files_of = {split: [f for f in manifest.files if f.split == split] for split in sorted({f.split for f in manifest.files})}
    if student:
        refuse_other_tokenizer(manifest, student)
    if name in TABLE_FORMATS:
        return _export_tables(dataset, files_of, target, name, facts_or_refuse(manifest, name))
    rows = _Rows(dataset, manifest.files, name, place)
    first: dict[str, Any] = {}
    counts: dict[str, SplitCounts] = {}
    with open_export(target) as written:
        for split, files in files_of.items():
            counts[split], first_of_split = _write_split(written, split, rows.of(files), name, place)
            first = first or first_of_split
        if not first:
            raise JobError(_no_row(name, counts))
        paths = {split: f"{split}.jsonl" for split, count in counts.items() if count.rows}
        for path, text in sidecar_files(name, paths, first).items():
            written.write(path, text)
    return counts


def _place(name: str, thoughts: Place | None) -> Place | None:
    """Where the thoughts go; None for a format that has rows as they are."""
    default = DEFAULT_PLACE.get(name)
    if thoughts is None or thoughts == default:
        return default
    if default is None or (thoughts in ("field", "thinking") and default != "field"):
        wanted = "no --thoughts: this format has rows as they are" if default is None else "--thoughts inline or drop"
        raise JobError(f"export: wanted {wanted}, got --thoughts {thoughts} for format '{name}'; change it or the format")
    return thoughts


def _export_tables(
    dataset: Storage, files_of: dict[str, list[File]], target: Storage, name: str, facts: Mapping[str, Any]
) -> dict[str, SplitCounts]:
    """Every split as one Parquet file of token ids."""
    schema, project = TABLE_FORMATS[name]
    counts = {split: SplitCounts() for split in files_of}
    longest = 0
    with open_export(target) as written:
        for split, files in files_of.items():
            for batch in batches_of(dataset, files, ["id", *TOP_K_COLUMNS], rows=BATCH_ROWS):
                rows, left_out = usable(pa.Table.from_batches([batch]))
                counts[split].left_out.update(left_out)
                if not rows.num_rows:
                    continue
                table = project(rows, facts)
                counts[split].rows += table.num_rows
                longest = max(longest, pc.max(pc.list_value_length(table["input_ids"])).as_py())
                written.table(split, schema).write_table(table)
        if not any(count.rows for count in counts.values()):
            raise JobError(_no_row(name, counts))
        for path, text in sidecars(name, facts, longest=longest).items():
            written.write(path, text)
    return counts


def _write_split(
    written: ExportFiles, split: str, rows: Iterator[dict[str, Any]], name: str, place: Place | None
) -> tuple[SplitCounts, dict[str, Any]]:
    counts = SplitCounts()
    first: dict[str, Any] = {}
    schema = IN_PARQUET.get(name)
    samples = written.parquet(split, schema) if schema is not None else written.samples(split, tar=name == "webdataset")
    prompts: set[str] | None = set() if name in REWARD_FORMATS else None
    for row in rows:
        if prompts is not None and row["prompt_digest"] in prompts:
            counts.left_out["the prompt of an earlier row"] += 1
            continue
        try:
            record = FORMATS[name](placed(row, place) if place is not None else row)
        except NotRepresentable as error:
            counts.left_out[str(error)] += 1
            continue
        counts.rows += 1
        if prompts is not None:
            prompts.add(row["prompt_digest"])
        if place is not None:
            counts.without_reasoning += place == "drop" and has_reasoning(row)
            counts.earlier_thoughts += place != "drop" and any(thoughts_of(row)[:-1])
        first = first or record
        samples.add(row["id"], record)
    return counts, first


def _no_row(name: str, counts: dict[str, SplitCounts]) -> str:
    total: Counter[str] = sum((count.left_out for count in counts.values()), Counter())
    reasons = ", ".join(f"{n:,} with {reason}" for reason, n in sorted(total.items())) or "no row"
    return f"export: wanted rows that format '{name}' can hold, got {reasons}; choose another format"


class _Rows:
    """The rows of a dataset's files. Where any row has tools among its fields, every row has them as a column; where thoughts go
    inside the texts and any row has one, every row says so.
    """

    def __init__(self, dataset: Storage, files: list[File], name: str, place: Place | None) -> None:
        self._dataset = dataset
        self._others_think = {OTHERS_THINK: True} if place == "inline" and self._has_thoughts(files) else {}
        self._with_tools = name not in AS_THEY_ARE and any(
            pc.any(pc.match_substring(batch["fields"], '"tools":')).as_py() for batch in batches_of(dataset, files, ["fields"])
        )

    def of(self, files: list[File]) -> Iterator[dict[str, Any]]:
        for batch in batches_of(self._dataset, files, None):
            for row in batch.to_pylist():
                yield row | self._others_think | (_tools_column(row) if self._with_tools else {})

    def _has_thoughts(self, files: list[File]) -> bool:
        batches = batches_of(self._dataset, files, ["messages", "fields", "reasoning", "reasoning_tokens", "turn_fields"])
        return any(has_reasoning(row) for batch in batches for row in batch.to_pylist())


def batches_of(
    dataset: Storage, files: list[File], columns: list[str] | None, *, rows: int = _BATCH_ROWS
) -> Iterator[pa.RecordBatch]:
    """The rows of these files. Raises JobError for one that is broken."""
    for file in files:
        with dataset.open_input(file.path) as opened:
            try:
                yield from pq.ParquetFile(opened).iter_batches(rows, columns=columns)
            except (pa.ArrowException, OSError):
                raise JobError(
                    f"export: {file.path}: wanted the Parquet file of the manifest, got a broken one; nothing was exported: "
                    "restore the file, or run the job again"
                ) from None


def _tools_column(row: dict[str, Any]) -> dict[str, Any]:
    tools = row.get("tools") or json.loads(row["fields"] or "{}").get("tools")
    return {"tools": tools if isinstance(tools, str) else canonical_json(tools or []).decode()}
