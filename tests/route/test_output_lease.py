"""The lease of a run: a driver whose store hangs stops in time, a lost lease is told, an older owner overwrites nothing."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from synth_ray.dataset.fenced import OfVersion
from synth_ray.dataset.lease import Lease
from synth_ray.dataset.manifest import manifest_etag, read_manifest, write_manifest
from synth_ray.errors import Conflict, StorageError
from synth_ray.job.output import Output
from synth_ray.route.output_lease import HeldLease, hold_lease
from synth_ray.storage import Storage, open_storage
from tests.published import make_dataset


@pytest.fixture
def store(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path))


@contextmanager
def hanging(folder: Path) -> Iterator[None]:
    """No write that compares ends meanwhile: somebody else has the folder's lock."""
    with (folder / ".tmp" / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def test_a_driver_whose_store_hangs_stops_before_its_lease_ends(store: Storage, tmp_path: Path) -> None:
    lease, lost = Lease.claim(store, "one", lease_s=12.0), threading.Event()
    lease.renew()
    left: list[float] = []

    def stop(_: str) -> None:
        left.append(lease.left_s)
        lost.set()

    with hanging(tmp_path), pytest.raises(StorageError, match="wanted to renew the lease"), HeldLease(lease) as fence:
        fence.on_lost = stop
        assert lost.wait(60)
        fence.raise_if_lost()
    assert left[0] > 0


def take_over(store: Storage) -> Lease:
    return Lease.claim(store, "another driver", is_dead=lambda driver: driver != "another driver")


def test_the_cause_is_kept_where_the_lease_cannot_be_released(store: Storage) -> None:
    with pytest.raises(ZeroDivisionError) as caught, hold_lease(store):
        take_over(store)
        raise ZeroDivisionError
    assert "another driver took over" in caught.value.__notes__[0]


def test_a_lease_that_was_lost_unnoticed_is_told_at_the_end(store: Storage) -> None:
    with pytest.raises(Conflict, match="this driver stops"), hold_lease(store):
        second = take_over(store)
    second.renew()


def test_an_older_owner_that_wakes_up_late_overwrites_nothing(store: Storage) -> None:
    """Neither the manifest of a newer owner nor what describes it; and what it wrote before is replaced by the newer owner."""
    first, begun_with = make_dataset(store, Output(path="unused")), manifest_etag(store)
    old = write_manifest(store, first.model_copy(update={"epoch": 2}), replaces=begun_with)
    new = write_manifest(store, first.model_copy(update={"epoch": 3}), replaces=begun_with)
    with pytest.raises(Conflict, match="another driver published meanwhile"):
        write_manifest(store, first.model_copy(update={"epoch": 2}), replaces=begun_with)
    cast(Storage, OfVersion(store, new)).write("README.md", b"of the newer")
    with pytest.raises(Conflict, match="its version counts"):
        cast(Storage, OfVersion(store, old)).write("README.md", b"of the older")
    assert (read_manifest(store).epoch, store.read("README.md")) == (3, b"of the newer")
