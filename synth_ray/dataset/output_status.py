"""The state of an output: what is published, committed or orphaned, and which driver owns it. Only reads."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synth_ray.dataset.lease import PARTS
from synth_ray.dataset.lease import PATH as LEASE
from synth_ray.dataset.ledger import CHUNKS, Ledger
from synth_ray.dataset.manifest import Manifest, read_manifest
from synth_ray.dataset.ranges import Ranges
from synth_ray.errors import ObjectNotFound
from synth_ray.storage import Storage
from synth_ray.storage.journal_names import ASKS


@dataclass(frozen=True, slots=True)
class OutputStatus:
    """`reasons` counts committed rows by the reason that staging gave, '' for none; admission may still reject those.

    `part_drivers` names the driver of each part that is driven. `driver_silent_s` is the age of the lease's record, by the
    store's clock and this machine's: nothing decides by it.
    """

    manifest: Manifest | None
    chunks: Ranges
    rows: int
    reasons: dict[str, int]
    staged_bytes: int
    orphans: int
    orphan_bytes: int
    journalled_bytes: int
    driver: str
    part_drivers: dict[str, str]
    driver_silent_s: float
    lease_s: float


def read_status(storage: Storage, *, now: float) -> OutputStatus:
    """`now` is in seconds since 1970. Raises StorageError."""
    ledger = Ledger(storage)
    chunks = ledger.committed_chunks()
    rows, staged, reasons = 0, 0, Counter[str]()
    for commit in map(ledger.read_commit, chunks):
        rows, staged = rows + commit.rows, staged + commit.size_bytes
        reasons.update(commit.reasons)
    orphans = list(ledger.orphans()) if next(iter(storage.list(CHUNKS)), None) else []
    driver = _driver(storage, LEASE)
    parts = {entry.path: _driver(storage, entry.path).get("driver", "") for entry in storage.list(PARTS)}
    return OutputStatus(
        manifest=_manifest(storage),
        chunks=chunks,
        rows=rows,
        reasons=dict(sorted(reasons.items())),
        staged_bytes=staged,
        orphans=len(orphans),
        orphan_bytes=sum(entry.size for entry in orphans),
        journalled_bytes=sum(entry.size for entry in storage.list(ASKS)),
        driver=driver.get("driver", ""),
        part_drivers={Path(path).stem.lstrip("0") or "0": name for path, name in sorted(parts.items()) if name},
        driver_silent_s=max([now - entry.modified for entry in storage.list(LEASE)], default=0.0),
        lease_s=driver.get("lease_s", 0.0),
    )


def _manifest(storage: Storage) -> Manifest | None:
    try:
        return read_manifest(storage)
    except ObjectNotFound:
        return None


def _driver(storage: Storage, lease: str) -> dict[str, Any]:
    try:
        return dict(json.loads(storage.read(lease)))
    except ObjectNotFound:
        return {}
