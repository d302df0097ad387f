from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from synth_ray.dataset.lease import PATH, Lease
from synth_ray.dataset.process import driver_name, is_dead, mark_ended
from synth_ray.errors import Conflict
from synth_ray.storage import Storage, open_storage


class Machine:
    """A machine whose clock began at any time, and which its programs may let sleep: `at_sleep` is what happens meanwhile."""

    def __init__(self, now: float = 0.0, at_sleep: Callable[[float], None] = lambda _: None) -> None:
        self.now, self.at_sleep = now, at_sleep

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.at_sleep(seconds)

    def claim(self, store: Storage, driver: str, **options: Any) -> Lease:
        return Lease.claim(store, driver, clock=self.clock, sleep=self.sleep, **options)


def test_a_second_driver_whose_clock_is_ahead_is_refused_while_the_first_renews(store: Storage) -> None:
    one, two = Machine(10_000.0), Machine(10_600.0)
    first = one.claim(store, "one")
    renewals = iter([False] * 12 + [True])
    two.at_sleep = lambda _: first.renew() if next(renewals) else None
    with pytest.raises(Conflict, match="driver one drives now"):
        two.claim(store, "two")
    first.release()
    assert two.claim(store, "two").epoch == 2


def test_a_silent_driver_is_outlasted_and_stops_before_it_is_replaced(store: Storage) -> None:
    one, two = Machine(5.0), Machine(1e6)
    first = one.claim(store, "one")
    stopped_in = []

    def pass_on_the_other_machine(seconds: float) -> None:
        one.now += seconds
        stopped_in.append(first.stops_in_s)

    two.at_sleep = pass_on_the_other_machine
    second = two.claim(store, "two")
    assert stopped_in[-1] <= -10 < 0 < stopped_in[0]
    assert second.epoch == first.epoch + 1
    for act in (first.renew, first.release):
        with pytest.raises(Conflict, match="this driver stops"):
            act()
    second.renew()


def test_a_driver_that_releases_while_it_is_watched_is_followed_at_once(store: Storage) -> None:
    first, two = Machine().claim(store, "one"), Machine()
    two.at_sleep = lambda _: first.release()
    assert two.claim(store, "two").epoch == 2
    assert two.now < 10


def test_the_lease_of_a_dead_driver_is_taken_over_at_once(store: Storage) -> None:
    Machine().claim(store, "one")
    assert Machine().claim(store, "two", is_dead=lambda driver: driver == "one").driver == "two"


def test_a_renewal_that_was_given_up_but_arrived_does_not_cost_the_lease(store: Storage) -> None:
    lease = Machine().claim(store, "one")
    before = lease.etag
    lease.renew()
    lease.etag = before
    lease.renew()
    assert lease.etag == store.etag(PATH)


class Driver(Machine):
    """What a driver does: it renews as long as it believes that it owns the lease."""

    lease: Lease | None = None

    @property
    def believes(self) -> bool:
        return self.lease is not None and self.lease.left_s > 0

    def renew(self) -> None:
        try:
            if self.lease is not None:
                self.lease.renew()
        except Conflict:
            self.lease = None


class Drivers(RuleBasedStateMachine):
    """Drivers with clocks minutes apart that stall, renew, claim and release as they like: never two believe they own it."""

    @initialize(skews=st.lists(st.floats(-600, 600), min_size=3, max_size=3))
    def start(self, skews: list[float]) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.store = open_storage(self.folder.name)
        self.drivers = [Driver(10_000.0 + skew) for skew in skews]
        self.names, self.epochs = count(), [0]

    def pass_time(self, seconds: float, *, but: Driver | None = None, renewing: Driver | None = None) -> None:
        for driver in self.drivers:
            driver.now += seconds if driver is not but else 0.0
        if renewing is not None and renewing.believes:
            renewing.renew()
        self.one_believes()

    @rule(seconds=st.floats(0, 100))
    def wait(self, seconds: float) -> None:
        self.pass_time(seconds)

    @rule(n=st.integers(0, 2))
    def renew(self, n: int) -> None:
        self.drivers[n].renew()

    @rule(n=st.integers(0, 2))
    def release(self, n: int) -> None:
        if (lease := self.drivers[n].lease) is not None:
            self.drivers[n].lease = None
            with suppress(Conflict):
                lease.release()

    @rule(n=st.integers(0, 2), lease_s=st.sampled_from([6.0, 60.0]), other=st.sampled_from([None, 0, 1, 2]))
    def claim(self, n: int, lease_s: float, other: int | None) -> None:
        driver = self.drivers[n]
        driver.lease = None
        renewing = self.drivers[other] if other not in (None, n) else None
        driver.at_sleep = lambda seconds: self.pass_time(seconds, but=driver, renewing=renewing)
        lease = None
        with suppress(Conflict):
            lease = driver.lease = driver.claim(self.store, f"driver {next(self.names)}", lease_s=lease_s)
        if lease is not None:
            assert lease.epoch > self.epochs[-1]
            self.epochs.append(lease.epoch)

    @invariant()
    def one_believes(self) -> None:
        assert sum(driver.believes for driver in self.drivers) <= 1

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()


TestDrivers = Drivers.TestCase
TestDrivers.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


@pytest.mark.parametrize("stale", [False, True])
def test_exactly_one_of_the_drivers_that_start_together_gets_the_lease(store: Storage, stale: bool) -> None:
    if stale:
        Lease.claim(store, "before")
    winners: list[Lease] = []
    barrier = threading.Barrier(8)

    def lose(_: float) -> None:
        raise Conflict("one that comes late watches the winner")

    def claim(number: int) -> None:
        barrier.wait()
        try:
            winners.append(Lease.claim(store, f"driver {number}", is_dead=lambda driver: driver == "before", sleep=lose))
        except Conflict:
            return

    threads = [threading.Thread(target=claim, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(winners) == 1
    winners[0].renew()


def test_is_dead_is_false_for_a_live_process_and_true_for_a_dead_one() -> None:
    assert not is_dead(driver_name())
    code = "from synth_ray.dataset.process import driver_name; print(driver_name())"
    dead = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert is_dead(dead)
    assert not is_dead(dead.replace(dead.split("/")[0], "another-host", 1))
    # A pid is reused by the system, so the start time counts as well.
    parts = driver_name().split("/")
    assert parts[3] == str(os.getpid())
    assert is_dead("/".join([*parts[:4], "1", "nonce"]))
    assert not is_dead("what is this")


def test_a_driver_that_ended_in_this_process_is_dead_even_without_a_release() -> None:
    ended, running = driver_name(), driver_name()
    mark_ended(ended)
    assert is_dead(ended)
    assert not is_dead(running)
