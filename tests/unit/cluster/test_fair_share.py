"""How jobs divide a cluster: laws over any claims."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.cluster.fair_share import Claim, fair_shares
from synth_ray.cluster.sharing import Sharing

claims = st.builds(
    Claim,
    resource=st.just("GPU"),
    size=st.sampled_from([0.5, 1.0, 2.0, 4.0, 8.0]),
    wanted=st.integers(0, 20),
    held=st.floats(0, 20),
    priority=st.integers(-2, 2),
    since=st.floats(0, 10),
)
jobs = st.dictionaries(st.text("abcdef", min_size=1, max_size=2), claims, max_size=6)


@given(jobs, st.floats(0, 64))
def test_shares_fit_the_capacity_are_never_more_than_wanted_and_leave_each_running_job_one(
    claimed: dict[str, Claim], capacity: float
) -> None:
    shares = fair_shares(claimed, capacity)
    assert all(0 <= shares[job] <= claim.wanted for job, claim in claimed.items())
    assert all(shares[job] for job, claim in claimed.items() if claim.held and claim.wanted)
    kept = sum(claim.size for claim in claimed.values() if claim.held and claim.wanted)
    assert sum(share * claimed[job].size for job, share in shares.items()) <= max(capacity, kept) + 1e-6


@given(jobs, st.floats(0, 64))
def test_nobody_gets_one_more_but_from_a_job_that_has_no_less_or_from_a_higher_priority(
    claimed: dict[str, Claim], capacity: float
) -> None:
    shares = fair_shares(claimed, capacity)
    used = sum(share * claimed[job].size for job, share in shares.items())
    for poor, claim in claimed.items():
        if shares[poor] == claim.wanted:
            continue
        assert used + claim.size > capacity  # nothing is left lying that it could have
        for rich, other in claimed.items():
            takes_more_than_its_one = shares[rich] > 1 or (shares[rich] == 1 and not other.held)
            if takes_more_than_its_one and other.priority < claim.priority:
                assert (
                    shares[rich] * other.size <= 1e-9
                    or used - _above_one(shares, claimed, claim.priority) + claim.size > capacity
                )
            if rich != poor and other.priority == claim.priority and other.size == claim.size and takes_more_than_its_one:
                assert shares[rich] <= shares[poor] + 1


def _above_one(shares: dict[str, int], claimed: dict[str, Claim], priority: int) -> float:
    """Units that jobs of lower priority have, beside the one replica that a running job keeps."""
    return sum(
        (shares[job] - bool(claim.held and claim.wanted)) * claim.size
        for job, claim in claimed.items()
        if claim.priority < priority
    )


def test_two_jobs_halve_a_cluster_a_third_of_higher_priority_is_served_first() -> None:
    alike = {name: Claim("GPU", 1.0, wanted=8, held=n, since=since) for name, n, since in (("a", 8, 1.0), ("b", 0, 2.0))}
    assert fair_shares(alike, 8) == {"a": 4, "b": 4}
    assert fair_shares(alike | {"c": Claim("GPU", 2.0, wanted=3, held=0, priority=1)}, 8) == {"a": 1, "b": 1, "c": 3}
    assert fair_shares({"a": alike["a"]}, 8) == {"a": 8}


def sharing(share: int, *, wanted: int, autoscaler: str = "no") -> Any:
    """A job's side of the arbiter that was just told a share."""
    one = Sharing.__new__(Sharing)
    one._resource, one._size, one._priority, one._short_by, one.wanted = "GPU", 1.0, 0, 0, wanted
    one._share = SimpleNamespace(tick=lambda claim: share)
    one._spare = lambda told: int(told < wanted and autoscaler == "yes")  # type: ignore[method-assign]
    return one


@given(st.integers(0, 6), st.integers(1, 6), st.integers(0, 6), st.integers(0, 6), st.sampled_from(["yes", "no"]))
def test_a_job_keeps_to_its_share_and_always_has_one_that_runs_or_waits(
    share: int, wanted: int, up: int, waiting: int, autoscaler: str
) -> None:
    replicas = list(range(up + waiting))
    change = sharing(share, wanted=wanted, autoscaler=autoscaler).change(replicas, placed=range(up), starting=0)
    stay = len(replicas) - len(change.leaving) - len(change.cancelled) + change.starts
    assert stay >= 1
    assert stay <= max(1, min(share + (autoscaler == "yes"), wanted), min(up, share + 1))
    assert set(change.leaving) <= set(range(up)) and set(change.cancelled) <= set(range(up, up + waiting))
    assert up - len(change.leaving) >= min(up, 1)
    assert not (change.starts and (change.leaving or change.cancelled))


def test_only_a_job_that_went_short_is_told_that_it_does_no_longer(caplog: pytest.LogCaptureFixture) -> None:
    one = sharing(2, wanted=2)
    for wanted, share in ((2, 2), (1, 1), (2, 1), (2, 1), (1, 1)):  # towards the end of a job it wants fewer
        one.wanted = wanted
        one._tell(share)
    assert [line.split(":")[0] for line in caplog.messages] == [
        "other jobs share this cluster",
        "this job may have all 1 replicas it wants again",
    ]
