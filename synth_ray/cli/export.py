"""`synth-ray export`: a dataset in a trainer's own format, one JSONL file per split, or tar shards."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as pq

from synth_ray.dataset.formats import FORMATS, NotRepresentable, sidecar_files
from synth_ray.dataset.manifest import File, Manifest, read_manifest
from synth_ray.dataset.samples import open_samples
from synth_ray.errors import JobError
from synth_ray.storage import Storage, open_storage

_BATCH_ROWS = 1024


def main(arguments: argparse.Namespace) -> int:
    dataset = open_storage(arguments.prefix)
    manifest = read_manifest(dataset)
    address = arguments.to or f"{arguments.prefix.rstrip('/')}/export/{arguments.format}"
    target = open_storage(address)
    written, first, by_split = _splits(dataset, manifest, target, arguments.format)
    if not first:
        reasons = ", ".join(f"{n:,} with {reason}" for reason, n in sorted(_sum(by_split).items())) or "no row"
        raise JobError(f"export: wanted rows that format '{arguments.format}' can hold, got {reasons}; choose another format")
    for name, text in sidecar_files(arguments.format, written, first).items():
        target.write(name, text.encode())
    for split, counts in by_split.items():
        left_out = "".join(f", {n:,} left out ({reason})" for reason, n in sorted(counts.items()) if reason)
        print(f"{split:<12}{counts['']:>9,} rows{left_out}")
    print(f"export    {address}")
    return 0


def _splits(
    dataset: Storage, manifest: Manifest, target: Storage, name: str
) -> tuple[dict[str, str], dict[str, Any], dict[str, Counter[str]]]:
    """Write each split. Returns the files by split, the first row, and row counts by split and reason ('' for written rows)."""
    written: dict[str, str] = {}
    first: dict[str, Any] = {}
    by_split: dict[str, Counter[str]] = {}
    for split in sorted({file.split for file in manifest.files}):
        files = [file for file in manifest.files if file.split == split]
        counts = by_split[split] = Counter({"": 0})
        with open_samples(target, split, tar=name == "webdataset") as samples:
            for row in _rows(dataset, files):
                try:
                    record = FORMATS[name](row)
                except NotRepresentable as error:
                    counts[str(error)] += 1
                    continue
                counts[""] += 1
                first = first or record
                samples.add(row["id"], record)
        written[split] = f"{split}.jsonl"
    return {split: path for split, path in written.items() if by_split[split][""]}, first, by_split


def _rows(dataset: Storage, files: list[File]) -> Iterator[dict[str, Any]]:
    for file in files:
        with dataset.open_input(file.path) as opened:
            for batch in pq.ParquetFile(opened).iter_batches(_BATCH_ROWS):
                yield from batch.to_pylist()


def _sum(by_split: dict[str, Counter[str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for counts in by_split.values():
        total.update({reason: n for reason, n in counts.items() if reason})
    return total
