"""A dataset in a trainer's format.

Law: every row is written, or left out and counted with the reason; a failed export leaves no file.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from synth_ray.dataset.conversation import NotRepresentable, has_reasoning
from synth_ray.dataset.formats import AS_THEY_ARE, FORMATS, WITHOUT_REASONING, sidecar_files
from synth_ray.dataset.manifest import File, Manifest
from synth_ray.dataset.reward_formats import IN_PARQUET
from synth_ray.dataset.samples import ExportFiles, open_export
from synth_ray.errors import JobError
from synth_ray.records import canonical_json
from synth_ray.storage import Storage

_BATCH_ROWS = 1024


@dataclass(slots=True)
class SplitCounts:
    """What became of a split's rows. `without_reasoning` are rows written without what the assistant thought."""

    rows: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    without_reasoning: int = 0


def export_dataset(dataset: Storage, manifest: Manifest, target: Storage, name: str) -> dict[str, SplitCounts]:
    """Write every split in the format `name`. Raises JobError if the format can hold no row, or if a part of the dataset is
    broken; then no file is left.
    """
    files_of = {split: [f for f in manifest.files if f.split == split] for split in sorted({f.split for f in manifest.files})}
    rows = _Rows(dataset, manifest.files, name)
    first: dict[str, Any] = {}
    counts: dict[str, SplitCounts] = {}
    with open_export(target) as written:
        for split, files in files_of.items():
            counts[split], first_of_split = _write_split(written, split, rows.of(files), name)
            first = first or first_of_split
        if not first:
            raise JobError(_no_row(name, counts))
        paths = {split: f"{split}.jsonl" for split, count in counts.items() if count.rows}
        for path, text in sidecar_files(name, paths, first).items():
            written.write(path, text)
    return counts


def _write_split(
    written: ExportFiles, split: str, rows: Iterator[dict[str, Any]], name: str
) -> tuple[SplitCounts, dict[str, Any]]:
    counts = SplitCounts()
    first: dict[str, Any] = {}
    schema = IN_PARQUET.get(name)
    samples = written.parquet(split, schema) if schema is not None else written.samples(split, tar=name == "webdataset")
    for row in rows:
        try:
            record = FORMATS[name](row)
        except NotRepresentable as error:
            counts.left_out[str(error)] += 1
            continue
        counts.rows += 1
        counts.without_reasoning += name in WITHOUT_REASONING and has_reasoning(row)
        first = first or record
        samples.add(row["id"], record)
    return counts, first


def _no_row(name: str, counts: dict[str, SplitCounts]) -> str:
    total: Counter[str] = sum((count.left_out for count in counts.values()), Counter())
    reasons = ", ".join(f"{n:,} with {reason}" for reason, n in sorted(total.items())) or "no row"
    return f"export: wanted rows that format '{name}' can hold, got {reasons}; choose another format"


class _Rows:
    """The rows of a dataset's files. Where any row has tools among its fields, every row has them as a column."""

    def __init__(self, dataset: Storage, files: list[File], name: str) -> None:
        self._dataset = dataset
        self._with_tools = name not in AS_THEY_ARE and any(
            pc.any(pc.match_substring(batch["fields"], '"tools":')).as_py() for batch in self._batches(files, ["fields"])
        )

    def of(self, files: list[File]) -> Iterator[dict[str, Any]]:
        for batch in self._batches(files, None):
            for row in batch.to_pylist():
                yield row | _tools_column(row) if self._with_tools else row

    def _batches(self, files: list[File], columns: list[str] | None) -> Iterator[pa.RecordBatch]:
        for file in files:
            with self._dataset.open_input(file.path) as opened:
                try:
                    yield from pq.ParquetFile(opened).iter_batches(_BATCH_ROWS, columns=columns)
                except (pa.ArrowException, OSError):
                    raise JobError(
                        f"export: {file.path}: wanted the Parquet file of the manifest, got a broken one; nothing was exported: "
                        "restore the file, or run the job again"
                    ) from None


def _tools_column(row: dict[str, Any]) -> dict[str, Any]:
    tools = row.get("tools") or json.loads(row["fields"] or "{}").get("tools")
    return {"tools": tools if isinstance(tools, str) else canonical_json(tools or []).decode()}
