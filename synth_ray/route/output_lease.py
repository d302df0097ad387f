"""Who may write an output: its lease, held and renewed, on a store with conditional writes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from synth_ray.dataset.lease import Lease
from synth_ray.dataset.process import driver_name, is_dead, mark_ended
from synth_ray.errors import JobError
from synth_ray.job.document import Job
from synth_ray.storage import Storage

_LEASE_S = 60.0


class HeldLease:
    """Holds the output's lease and renews it. A driver that lost it stops, and `check` raises before it publishes."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._error: Exception | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self.on_lost: Callable[[str], None] = lambda _: None

    def __enter__(self) -> HeldLease:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join(timeout=30)
        if self._error is None:
            self._lease.release()

    def _renew(self) -> None:
        while not self._closing.wait(self._lease.lease_s / 3):
            try:
                self._lease.renew(time.time())
            except Exception as error:
                # Whatever prevented the renewal, another driver may own the output now: stop before writing anything more.
                self._error = error
                self.on_lost(f"the lease on the output is lost: {error}")
                return

    def raise_if_lost(self) -> None:
        if self._error is not None:
            raise self._error


@contextmanager
def hold_lease(storage: Storage) -> Iterator[HeldLease]:
    lease = Lease.claim(storage, driver_name(), now=time.time(), lease_s=_LEASE_S, is_dead=is_dead)
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
