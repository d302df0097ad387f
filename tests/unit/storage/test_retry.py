from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.errors import StorageError
from synth_ray.storage.retry import Retry, Transient


@given(st.integers(0, 30), st.floats(0.1, 500), st.lists(st.floats(0, 1), min_size=40, max_size=40))
def test_waits_are_jittered_bounded_and_within_the_budget(faults: int, budget_s: float, draws: list[float]) -> None:
    waits: list[float] = []
    remaining_draws = iter(draws)
    retry = Retry(
        budget_s=budget_s, clock=lambda: sum(waits), sleep=waits.append, uniform=lambda a, b: a + (b - a) * next(remaining_draws)
    )

    def act(attempt: int) -> int:
        if attempt < faults:
            raise Transient("busy")
        return attempt

    try:
        assert retry.call(act, name="x") == faults
    except StorageError as error:
        assert "busy" in str(error)
        assert len(waits) < faults
    assert sum(waits) <= budget_s
    assert all(wait <= min(20.0, 0.2 * 2**n) for n, wait in enumerate(waits))


def test_any_other_error_is_not_retried() -> None:
    attempts: list[int] = []

    def act(attempt: int) -> None:
        attempts.append(attempt)
        raise KeyError

    with pytest.raises(KeyError):
        Retry().call(act, name="x")
    assert attempts == [0]
