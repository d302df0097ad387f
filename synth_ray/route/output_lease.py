"""Who may write an output: its lease, held and renewed, on a store with conditional writes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from synth_ray.dataset.lease import PARTS, RENEWALS_PER_LEASE, Lease, part_path, require_free
from synth_ray.dataset.process import driver_name, is_dead, mark_ended
from synth_ray.errors import Conflict, JobError, StorageError
from synth_ray.job.document import Job
from synth_ray.storage import Storage

log = logging.getLogger(__name__)

_LEASE_S = 60.0


class HeldLease:
    """Holds the output's lease and renews it. A driver that lost it stops, and `raise_if_lost` raises before it publishes.

    Law: `on_lost` is called while the lease still holds, however long a request to the store hangs: one thread renews, another
    watches the clock. An exception of the block leaves it as it is, with what became of the lease as a note.
    """

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._error: Exception | None = None
        self._closing = threading.Event()
        self._renewing = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._watching = threading.Thread(target=self._watch, name="lease-end", daemon=True)
        self.on_lost: Callable[[str], None] = lambda _: None

    @property
    def epoch(self) -> int:
        return self._lease.epoch

    def __enter__(self) -> HeldLease:
        self._renewing.start()
        self._watching.start()
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._closing.set()
        self._renewing.join(timeout=max(0.0, self._lease.stops_in_s))
        problem = self._error or self._release()
        if problem is not None and error is not None:
            error.add_note(f"the lease on the output: {problem}")
        elif isinstance(problem, Conflict) or self._error is not None:
            assert problem is not None
            raise problem
        elif problem is not None:
            log.warning("the lease was not released, the next driver waits until it ends: %s", problem)

    def _release(self) -> Exception | None:
        """What prevented it. A store that still holds up the renewal would hold up this, too."""
        if self._renewing.is_alive():
            return StorageError(f"{self._lease.storage.url}: wanted to release the lease, got a store that does not answer")
        try:
            self._lease.release()
        except Exception as error:
            return error
        return None

    def _renew(self) -> None:
        while self._error is None and not self._closing.wait(self._lease.lease_s / RENEWALS_PER_LEASE):
            try:
                self._lease.renew()
            except Conflict as error:
                self._lose(error)
            except Exception as error:
                # The store may answer again before the lease ends. If not, `_watch` stops the driver.
                log.warning("the lease was not renewed, and is tried again: %s", error)

    def _watch(self) -> None:
        while self._error is None and not self._closing.wait(max(0.0, self._lease.stops_in_s)):
            self._lose_if_silent()

    def _lose_if_silent(self) -> None:
        if self._error is None and self._lease.stops_in_s <= 0:
            self._lose(
                StorageError(
                    f"{self._lease.storage.url}: wanted to renew the lease on this output, got no answer of the store in time; "
                    "what is committed is kept: see that the store is up, then run the same command again"
                )
            )

    def _lose(self, error: Exception) -> None:
        self._error = error
        self.on_lost(f"the lease on the output is lost: {error}")

    @property
    def is_lost(self) -> bool:
        self._lose_if_silent()
        return self._error is not None

    def raise_if_lost(self) -> None:
        """Call before a write that only the owner may make."""
        if self.is_lost:
            assert self._error is not None
            raise self._error


@contextmanager
def hold_lease(storage: Storage, *, lease_s: float = _LEASE_S) -> Iterator[HeldLease]:
    """Drive this output for the block. Raises Conflict where another driver does, or drives a part of it, see `Lease.claim`."""
    with _held(Lease.claim(storage, driver_name(), lease_s=lease_s, is_dead=is_dead)) as fence:
        for entry in storage.list(PARTS):
            require_free(storage, entry.path, is_dead=is_dead)
        yield fence


@contextmanager
def hold_part(storage: Storage, part: int, *, lease_s: float = _LEASE_S) -> Iterator[HeldLease]:
    """Drive a part of this output for the block. Raises Conflict where another driver drives that part, or all of it."""
    with _held(Lease.claim(storage, driver_name(), lease_s=lease_s, is_dead=is_dead, path=part_path(part))) as fence:
        require_free(storage, is_dead=is_dead)
        yield fence


@contextmanager
def _held(lease: Lease) -> Iterator[HeldLease]:
    try:
        with HeldLease(lease) as fence:
            yield fence
    finally:
        mark_ended(lease.driver)


def require_conditional_writes(job: Job, storage: Storage) -> None:
    if job.output.single_writer or storage.probe_conditional():
        return
    raise JobError(
        f"output.path: wanted a store that honours conditional writes, got {storage.url}, which ignores them: two drivers "
        "could both win; use another store, or set output.single_writer: true if only one driver ever writes here"
    )
