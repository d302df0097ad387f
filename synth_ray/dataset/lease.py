"""Which driver owns this output: one record on the store, changed only by conditional writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from synth_ray.errors import Conflict, ObjectNotFound
from synth_ray.storage import Storage

PATH = "_synth/driver.json"


@dataclass(slots=True)
class Lease:
    """The right to drive one output, until it is released, lost, or not renewed for `lease_s` seconds.

    Law: at most one driver owns the lease, and a driver that lost it gets Conflict at its next `renew`. Clocks only decide when a
    silent driver may be replaced, never whether two may both continue: each change of owner is a conditional write with a higher
    epoch. Times are seconds since 1970.
    """

    storage: Storage
    driver: str
    epoch: int
    lease_s: float
    etag: str

    @classmethod
    def claim(
        cls,
        storage: Storage,
        driver: str,
        *,
        now: float,
        lease_s: float = 60.0,
        is_dead: Callable[[str], bool] = lambda _: False,
    ) -> Lease:
        """Claim a lease that is free, released or expired, or whose driver `is_dead` reports dead. Raises Conflict."""
        try:
            data, etag = storage.read_with_etag(PATH)
        except ObjectNotFound:
            data, etag = _record("", 0, 0.0, lease_s), ""
        current = json.loads(data)
        _refuse_if_held(storage, current, now=now, is_dead=is_dead)
        epoch = int(current["epoch"]) + 1
        record = _record(driver, epoch, now, lease_s)
        try:
            etag = storage.swap(PATH, record, etag) if etag else storage.create(PATH, record)
        except Conflict:
            raise Conflict(
                f"{storage.url}: wanted to drive this output, got another driver that started at the same moment "
                "and won; let it run"
            ) from None
        return cls(storage, driver, epoch, lease_s, etag)

    def renew(self, now: float) -> None:
        """Extend the lease. Raises Conflict when another driver took over: stop at once and write nothing more."""
        self._swap(_record(self.driver, self.epoch, now, self.lease_s))

    def release(self) -> None:
        """Let the next driver start without waiting. Raises Conflict when another driver took over already."""
        self._swap(_record("", self.epoch, 0.0, self.lease_s))

    def _swap(self, data: bytes) -> None:
        try:
            self.etag = self.storage.swap(PATH, data, self.etag)
        except Conflict:
            raise Conflict(
                f"{self.storage.url}: wanted to go on driving this output, got a lease that another driver took over; "
                "this driver stops; what it committed is kept"
            ) from None


def _refuse_if_held(storage: Storage, current: dict[str, Any], *, now: float, is_dead: Callable[[str], bool]) -> None:
    driver, left = current["driver"], current["renewed_at"] + current["lease_s"] - now
    if driver and left > 0 and not is_dead(driver):
        raise Conflict(
            f"{storage.url}: wanted to drive this output, got one that driver {driver} drives now; stop that one, or "
            f"if it died, run the same command again in {left:.0f} s"
        )


def _record(driver: str, epoch: int, now: float, lease_s: float) -> bytes:
    return json.dumps({"driver": driver, "epoch": epoch, "renewed_at": now, "lease_s": lease_s}).encode()
