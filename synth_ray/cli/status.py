"""`synth-ray status`: the state of an output."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

from synth_ray.dataset.output_status import OutputStatus, read_status
from synth_ray.dataset.process import is_dead
from synth_ray.storage import open_storage


def main(arguments: argparse.Namespace) -> int:
    for line in status_lines(read_status(open_storage(arguments.prefix), now=time.time())):
        print(line)
    return 0


def status_lines(status: OutputStatus) -> Iterator[str]:
    yield f"dataset   {_published_text(status)}"
    yield f"chunks    {len(status.chunks)} committed{_chunk_runs_text(status)}, {status.staged_bytes:,} bytes"
    ended = ", ".join(f"{reason} {n}" for reason, n in status.reasons.items() if reason) or "none"
    yield f"rows      {status.rows} committed; ended before admission: {ended}"
    if status.manifest is not None:
        yield from (f"seeds     rejected {line}" for line in status.manifest.seeds.rejected_lines())
    size = f"{status.orphan_bytes:,} bytes"
    yield f"orphans   {status.orphans}, {size} (removed by the next run once they are an hour old, or by gc)"
    yield f"journal   {status.journalled_bytes:,} bytes of finished asks, of chunks that are not committed"
    yield f"driver    {_driver_text(status)}"
    for part, driver in status.part_drivers.items():
        yield f"part {part:<4} {driver}{', which is dead; run the part again at once' if is_dead(driver) else ''}"


def _published_text(status: OutputStatus) -> str:
    if status.manifest is None:
        return "nothing is published yet"
    accepted = (
        f"{status.manifest.rows.accepted} accepted of {status.manifest.rows.requested} slots, {status.manifest.dataset_digest}"
    )
    return f"complete: {accepted}" if status.manifest.complete else f"partial ({status.manifest.stopped}): {accepted}"


def _chunk_runs_text(status: OutputStatus) -> str:
    runs = [f"{start}–{end - 1}" if end - start > 1 else str(start) for start, end in status.chunks.runs]
    more = f" and {len(runs) - 8} more runs" if len(runs) > 8 else ""
    return f" ({', '.join(runs[:8])}{more})" if runs else ""


def _driver_text(status: OutputStatus) -> str:
    if not status.driver:
        return "none"
    if is_dead(status.driver):
        return f"{status.driver}, which is dead; run the same command again at once"
    renewed = f"{status.driver}, which renewed its lease of {status.lease_s:g} s {max(0.0, status.driver_silent_s):.0f} s ago"
    if status.driver_silent_s <= status.lease_s:
        return renewed
    return f"{renewed}, by this machine's clock; run the same command to take over if it is dead"
