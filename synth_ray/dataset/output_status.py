"""The state of an output: what is published, committed or orphaned, and which driver owns it. Only reads."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from synth_ray.dataset.lease import PATH as LEASE
from synth_ray.dataset.ledger import CHUNKS, ROOT, Ledger
from synth_ray.dataset.manifest import Manifest, read_manifest
from synth_ray.dataset.ranges import Ranges
from synth_ray.errors import ObjectNotFound
from synth_ray.storage import Storage

ASKS = f"{ROOT}asks/"


@dataclass(frozen=True, slots=True)
class OutputStatus:
    """`reasons` counts committed rows by the reason that staging gave, '' for none; admission may still reject those."""

    manifest: Manifest | None
    chunks: Ranges
    rows: int
    reasons: dict[str, int]
    staged_bytes: int
    orphans: int
    orphan_bytes: int
    journalled_bytes: int
    driver: str
    driver_left_s: float


def read_status(storage: Storage, *, now: float) -> OutputStatus:
    """`now` is in seconds since 1970. Raises StorageError."""
    ledger = Ledger(storage)
    chunks = ledger.committed_chunks()
    rows, staged, reasons = 0, 0, Counter[str]()
    for commit in map(ledger.read_commit, chunks):
        rows, staged = rows + commit.rows, staged + commit.size_bytes
        reasons.update(commit.reasons)
    orphans = list(ledger.orphans()) if next(iter(storage.list(CHUNKS)), None) else []
    driver = _driver(storage)
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
        driver_left_s=driver["renewed_at"] + driver["lease_s"] - now if driver.get("driver") else 0.0,
    )


def _manifest(storage: Storage) -> Manifest | None:
    try:
        return read_manifest(storage)
    except ObjectNotFound:
        return None


def _driver(storage: Storage) -> dict[str, Any]:
    try:
        return dict(json.loads(storage.read(LEASE)))
    except ObjectNotFound:
        return {}
