"""`synth-ray export`: a dataset in a trainer's own format, one file per split, or tar shards; or as a table of a lake."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from synth_ray.cli.arguments import TABLE_FORMATS
from synth_ray.dataset.export import SplitCounts, export_dataset
from synth_ray.dataset.manifest import read_manifest
from synth_ray.errors import JobError
from synth_ray.storage import open_storage


def main(arguments: argparse.Namespace) -> int:
    dataset = open_storage(arguments.prefix)
    if arguments.format in TABLE_FORMATS:
        _refuse_options(arguments, ("thoughts", "student"))
        from synth_ray.cli.export_table import export_table  # with it come the libraries of tables

        return export_table(arguments, dataset, read_manifest(dataset))
    _refuse_options(arguments, ("catalog", "partial"))
    address = arguments.to or f"{arguments.prefix.rstrip('/')}/export/{arguments.format}"
    options = {"thoughts": arguments.thoughts, "student": arguments.student}
    counts = export_dataset(dataset, read_manifest(dataset), open_storage(address), arguments.format, **options)
    for split, count in counts.items():
        print(f"{split:<12}{count.rows:>9,} rows{_omitted(count, arguments.format)}")
    print(f"export    {address}")
    return 0


def _refuse_options(arguments: argparse.Namespace, names: Sequence[str]) -> None:
    if given := [name for name in names if getattr(arguments, name)]:
        raise JobError(
            f"export: wanted options of --format {arguments.format}, got --{given[0]}; leave it out, or change the format"
        )


def _omitted(count: SplitCounts, name: str) -> str:
    told = [f"{n:,} left out ({reason})" for reason, n in sorted(count.left_out.items())]
    if count.without_reasoning:
        told.append(f"the reasoning of {count.without_reasoning:,} left out ({name} has no place for it)")
    if count.earlier_thoughts:
        told.append(f"thoughts of earlier turns in {count.earlier_thoughts:,}, which most chat templates leave out")
    return "".join(f", {text}" for text in told)
