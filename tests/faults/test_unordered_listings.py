"""A store that lists in another order each time: a job stops, is cleaned up, goes on, is curated, and is the same."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import synth_ray
from synth_ray.ask.segments import journalled_chunks
from synth_ray.dataset.garbage import garbage
from synth_ray.dataset.ledger import CHUNKS, Ledger
from synth_ray.dataset.output_status import read_status
from synth_ray.job.load import job_from
from synth_ray.route.curation import curate_job
from synth_ray.storage import Entry, Storage, open_storage
from synth_ray.storage.local import LocalStorage
from tests.route.test_route import job


class StopError(Exception):
    pass


def stop_later(tally: Any) -> None:
    if tally.chunks_admitted >= 3:
        raise StopError


def leave_orphans(store: Storage) -> list[str]:
    """Beside the object that counts, on either side of it in the order of names; and of a chunk that is not committed."""
    folders = [f"{CHUNKS}{chunk:08d}" for chunk in (0, 1, 99_999_999)]
    orphans = [f"{folder}/{name}.parquet" for folder in folders for name in ("0" * 16, "f" * 16)]
    for path in orphans:
        store.write(path, b"of an attempt that lost")
    return orphans


def test_a_job_on_a_store_that_lists_in_any_order_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = synth_ray.run(job(tmp_path, str(tmp_path / "in order"))).manifest
    draw, listed = random.Random(7), LocalStorage.list

    def shuffled(self: LocalStorage, prefix: str = "") -> Iterator[Entry]:
        entries = list(listed(self, prefix))
        draw.shuffle(entries)
        return iter(entries)

    monkeypatch.setattr(LocalStorage, "list", shuffled)
    document, store = job(tmp_path, str(tmp_path / "out")), open_storage(str(tmp_path / "out"))
    with pytest.raises(StopError):
        synth_ray.run(document, watch=stop_later)
    orphans = leave_orphans(store)
    assert orphans == sorted(entry.path for kind, entry in garbage(store, ["orphans"], now=2e9, older_than_s=0) if kind)
    assert orphans == sorted(Ledger(store).delete_orphans(now=2e9))
    assert (journalled := list(journalled_chunks(store))) == sorted(set(journalled))
    ended = synth_ray.run(document).manifest
    assert (ended["dataset_digest"], ended["epoch"]) == (wanted["dataset_digest"], 2)
    assert curate_job(job_from(document)).manifest["dataset_digest"] == wanted["dataset_digest"]
    assert read_status(store, now=0.0).orphans == 0
