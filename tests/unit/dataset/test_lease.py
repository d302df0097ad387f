from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from synth_ray.dataset.lease import Lease
from synth_ray.dataset.process import driver_name, is_dead, mark_ended
from synth_ray.errors import Conflict
from synth_ray.storage import Storage


def test_a_second_driver_is_refused_until_the_first_releases(store: Storage) -> None:
    first = Lease.claim(store, "one", now=100.0)
    with pytest.raises(Conflict, match="driver one"):
        Lease.claim(store, "two", now=101.0)
    first.renew(150.0)
    with pytest.raises(Conflict, match="in 55 s"):
        Lease.claim(store, "two", now=155.0)
    first.release()
    assert Lease.claim(store, "two", now=156.0).epoch == 2


def test_a_stale_lease_is_taken_over_and_its_former_owner_stops(store: Storage) -> None:
    first = Lease.claim(store, "one", now=100.0, lease_s=60)
    second = Lease.claim(store, "two", now=161.0)
    for act in (lambda: first.renew(162.0), first.release):
        with pytest.raises(Conflict, match="this driver stops"):
            act()
    second.renew(170.0)
    assert second.epoch == first.epoch + 1


def test_the_lease_of_a_dead_driver_is_taken_over_at_once(store: Storage) -> None:
    Lease.claim(store, "one", now=100.0)
    assert Lease.claim(store, "two", now=100.1, is_dead=lambda driver: driver == "one").driver == "two"


@pytest.mark.parametrize("stale", [False, True])
def test_exactly_one_of_the_drivers_that_start_together_gets_the_lease(store: Storage, stale: bool) -> None:
    if stale:
        Lease.claim(store, "before", now=0.0)
    winners: list[Lease] = []
    barrier = threading.Barrier(8)

    def claim(number: int) -> None:
        barrier.wait()
        try:
            winners.append(Lease.claim(store, f"driver {number}", now=1000.0))
        except Conflict:
            return

    threads = [threading.Thread(target=claim, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(winners) == 1
    winners[0].renew(1001.0)


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
