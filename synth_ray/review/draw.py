"""A stratified random sample of a dataset's rows, the same at every draw."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import nsmallest
from typing import Any

from synth_ray.dataset.manifest import File, Manifest
from synth_ray.dataset.trace import opened_part, rows_with_ids
from synth_ray.errors import JobError
from synth_ray.plan.cells import apportion
from synth_ray.records import Origin
from synth_ray.storage import Storage

CLASS_COLUMNS = ("label", "category", "class", "intent", "kind")
Stratum = tuple[str, str]
"""(split, class)."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """One row to review. It stands for `weight` rows of its stratum."""

    stratum: Stratum
    weight: float
    row: Mapping[str, Any]


def draw(storage: Storage, manifest: Manifest, n: int, *, by: str = "", rejected: bool = False) -> list[Drawn]:
    """Draw `n` generated rows, or fewer where there are fewer, by split and by the column `by`.

    Each stratum has its share of the sample, and at least one row while there is room. Within one, the rows with the smallest ids
    are drawn: ids are digests, so that is a random sample. Reads two columns of every part, and then the rows drawn. Raises
    JobError for a column that the dataset lacks, or where there is nothing to draw.
    """
    files = manifest.rejected_files if rejected else manifest.files
    columns = manifest.rejected_columns if rejected else manifest.columns
    if by and by not in columns:
        raise JobError(f"--by: wanted a column of the dataset, got '{by}'; it has {', '.join(sorted(columns))}")
    by = by or next((name for name in CLASS_COLUMNS if columns.get(name) == "string"), "")
    sizes: Counter[Stratum] = Counter()
    smallest: dict[Stratum, list[str]] = {}
    for ids in _ids(storage, files, by):
        for stratum, names in ids.items():
            sizes[stratum] += len(names)
            smallest[stratum] = nsmallest(n, smallest.get(stratum, []) + names)
    if not sizes:
        raise JobError(f"{storage.url}: wanted generated rows to review, got none; see report.html")
    chosen = _allocated(sizes, n)
    places = {
        name: (stratum, sizes[stratum] / chosen[stratum])
        for stratum, names in smallest.items()
        for name in names[: chosen[stratum]]
    }
    rows = rows_with_ids(storage, files, places)
    return [Drawn(*places[name], rows[name]) for name in sorted(places)]


def _allocated(sizes: Mapping[Stratum, int], n: int) -> dict[Stratum, int]:
    """Rows to draw of each stratum: one of each, largest first, then the rest in proportion (largest remainders)."""
    n = min(n, sum(sizes.values()))
    order = sorted(sizes, key=lambda stratum: (-sizes[stratum], stratum))
    chosen = {stratum: int(place < n) for place, stratum in enumerate(order)}
    rest = {stratum: size - chosen[stratum] for stratum, size in sizes.items() if size > chosen[stratum]}
    more = apportion(rest, n - sum(chosen.values())) if rest else {}
    return {stratum: chosen[stratum] + more.get(stratum, 0) for stratum in order}


def _ids(storage: Storage, files: Iterable[File], by: str) -> Iterator[dict[Stratum, list[str]]]:
    """The ids of the generated rows by stratum, a row group at a time."""
    for file in files:
        columns = ["id", "origin", *([by] if by else []), *([] if file.split else ["split"])]
        for group in _groups(storage, file, columns):
            found: dict[Stratum, list[str]] = {}
            for row in group:
                if row["origin"] == Origin.SYNTHETIC.value:
                    stratum = file.split or row["split"] or "", str(row.get(by) or "") if by else ""
                    found.setdefault(stratum, []).append(row["id"])
            yield found


def _groups(storage: Storage, file: File, columns: list[str]) -> Iterator[list[dict[str, Any]]]:
    with opened_part(storage, file.path) as part:
        for group in range(part.num_row_groups):
            yield part.read_row_group(group, columns=columns).to_pylist()


def turns_of(row: Mapping[str, Any]) -> list[dict[str, str]]:
    """The conversation that led to the completion."""
    messages = [dict(message) for message in row.get("messages") or []]
    return messages[:-1] if messages and messages[-1]["role"] == "assistant" else messages


def fields_in(row: Mapping[str, Any]) -> dict[str, Any]:
    loaded = json.loads(row.get("fields") or "{}")
    return loaded if isinstance(loaded, dict) else {}
