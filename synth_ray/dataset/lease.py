"""Which driver owns this output: one record on the store, changed only by conditional writes."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from synth_ray.dataset.process import seconds_since_boot
from synth_ray.errors import Conflict, ObjectNotFound
from synth_ray.storage import Storage

log = logging.getLogger(__name__)

PATH = "_synth/driver.json"

PARTS = "_synth/parts/"
"""Where the leases on parts of an output are: `<part, 4 digits>.json`."""

RENEWALS_PER_LEASE = 6
"""A rival hears within this part of the lease that the driver lives."""

_SPARE = 0.25
"""The part of the lease in which its driver writes nothing more: it covers clocks that run at different rates, and what was
already under way.
"""


@dataclass(slots=True)
class Lease:
    """The right to drive one output, until it is released, lost, or not renewed for `lease_s` seconds.

    Law: no two drivers believe at one moment that they own the lease, whatever the clocks of their machines say. Nobody compares
    times of two clocks: the owner counts from the moment before its renewal was sent, a rival from the moment after it read the
    record, each by a clock of its own that counts from boot. A rival takes over a record that it saw unchanged for a whole lease.
    Each change of owner is a conditional write with a higher `epoch`, by which later writes of an older owner are refused.
    """

    storage: Storage
    driver: str
    epoch: int
    lease_s: float
    etag: str
    clock: Callable[[], float] = seconds_since_boot
    path: str = PATH
    renewed_at: float = 0.0
    _renewals: int = field(default=0, init=False)

    @classmethod
    def claim(
        cls,
        storage: Storage,
        driver: str,
        *,
        lease_s: float = 60.0,
        is_dead: Callable[[str], bool] = lambda _: False,
        path: str = PATH,
        clock: Callable[[], float] = seconds_since_boot,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Lease:
        """Claim a lease that is free or released, or whose driver `is_dead` reports dead: at once. One that another driver
        holds is watched until that driver renews it, which raises Conflict, or its lease has ended.
        """
        current, etag = _outlast(storage, path, is_dead=is_dead, clock=clock, sleep=sleep)
        epoch, began = int(current["epoch"]) + 1, clock()
        lease = cls(storage, driver, epoch, lease_s, etag, clock, path, began)
        record = lease._record(driver)
        try:
            lease.etag = storage.swap(path, record, etag) if etag else storage.create(path, record)
        except Conflict:
            raise Conflict(
                f"{storage.url}: wanted to drive this output, got another driver that started at the same moment "
                "and won; let it run"
            ) from None
        return lease

    @property
    def left_s(self) -> float:
        """Seconds until a rival may own the lease."""
        return self.renewed_at + self.lease_s - self.clock()

    @property
    def stops_in_s(self) -> float:
        """Seconds until this driver has to stop writing, unless it renews before."""
        return self.left_s - _SPARE * self.lease_s

    def renew(self) -> None:
        """Extend the lease. Raises Conflict when another driver took over: stop at once and write nothing more."""
        began = self.clock()
        self._renewals += 1
        self._swap(self._record(self.driver))
        self.renewed_at = began

    def release(self) -> None:
        """Let the next driver start without waiting. Raises Conflict when another driver took over already."""
        self._swap(self._record(""))

    def _swap(self, record: bytes) -> None:
        try:
            self.etag = self.storage.swap(self.path, record, self.etag)
        except Conflict:
            self._swap_own(record)

    def _swap_own(self, record: bytes) -> None:
        """Replace the record where the one that is there is this driver's own: of a renewal given up that arrived after all."""
        current, etag = _read(self.storage, self.path)
        try:
            if (current["driver"], current["epoch"]) == (self.driver, self.epoch):
                self.etag = self.storage.swap(self.path, record, etag)
                return
        except Conflict:
            pass
        raise Conflict(
            f"{self.storage.url}: wanted to go on driving this output, got a lease that another driver took over; "
            "this driver stops; what it committed is kept"
        ) from None

    def _record(self, driver: str) -> bytes:
        """`renewals` makes the bytes of each renewal different, and with them its etag. `renewed_at` is for people alone."""
        times = {"renewals": self._renewals, "renewed_at": time.time(), "lease_s": self.lease_s}
        return json.dumps({"driver": driver, "epoch": self.epoch} | times).encode()


def part_path(part: int) -> str:
    return f"{PARTS}{part:04d}.json"


def require_free(
    storage: Storage,
    path: str = PATH,
    *,
    is_dead: Callable[[str], bool] = lambda _: False,
    clock: Callable[[], float] = seconds_since_boot,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Raises Conflict where a live driver holds the lease at `path`, as `Lease.claim` does. Two drivers that each claim a lease
    of their own first, and then look at the other's, exclude each other.
    """
    _outlast(storage, path, is_dead=is_dead, clock=clock, sleep=sleep)


def _outlast(
    storage: Storage, path: str, *, is_dead: Callable[[str], bool], clock: Callable[[], float], sleep: Callable[[float], None]
) -> tuple[dict[str, Any], str]:
    """The record that may be replaced, and its etag, which is empty where there is none. Raises Conflict for a live driver."""
    first, etag = _read(storage, path)
    ends_at, read_at = clock() + first["lease_s"], -1.0
    if first["driver"] and not is_dead(first["driver"]):
        log.warning("%s: driver %s holds %s; watching it for %g s", storage.url, first["driver"], path, first["lease_s"])
    current = first
    while current["driver"] and not is_dead(current["driver"]) and read_at < ends_at:
        sleep(min(1.0, first["lease_s"] / RENEWALS_PER_LEASE / 2))
        read_at = clock()
        current, now_etag = _read(storage, path)
        if now_etag != etag and current["driver"]:
            raise Conflict(
                f"{storage.url}: wanted to drive this output, got one that driver {current['driver']} drives now: {path} was "
                "just renewed; let it end or stop it, then run the same command again"
            )
        etag = now_etag
    return current, etag


def _read(storage: Storage, path: str) -> tuple[dict[str, Any], str]:
    try:
        data, etag = storage.read_with_etag(path)
    except ObjectNotFound:
        return {"driver": "", "epoch": 0, "lease_s": 0.0}, ""
    return dict(json.loads(data)), etag
