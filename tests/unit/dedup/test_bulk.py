"""A table that is filled at once holds what one holds that was filled entry by entry, in the same order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synth_ray.dedup import bulk
from synth_ray.dedup.bulk import Filling
from synth_ray.dedup.hashing import U32, U64, Array
from synth_ray.dedup.table import Table


@pytest.fixture(autouse=True)
def _at_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "_FEWEST", 0)


def keys_of(seed: int, size: int, hot: int) -> Array:
    """A third of them are one of a few keys; some are none."""
    random = np.random.default_rng(seed)
    keys = random.integers(0, 2**64, size, dtype=U64)
    repeated = random.integers(0, size, size // 3)
    keys[repeated] = random.integers(0, 2**64, hot, dtype=U64)[random.integers(0, hot, len(repeated))]
    keys[::97] = 0
    return keys


def check(keys: Array, *, before: int, expected: int, cap: int, is_wide: bool, cuts: int) -> None:
    ids = (np.arange(len(keys)) // 7).astype(U32)
    one, other = Table(is_wide=is_wide), Table(is_wide=is_wide)
    one.insert(keys, ids, cap=cap)
    other.insert(keys[:before], ids[:before], cap=cap)
    with Filling(other, expected=expected, cap=cap) as filling:
        for part in np.array_split(np.arange(before, len(keys)), cuts):
            filling.add(keys[part], ids[part])
    assert np.array_equal(one.sorted_entries(), other.sorted_entries())
    assert len(one) == len(other)
    asked = np.concatenate((keys[::11], U64(2) ** np.arange(64, dtype=U64)))
    assert all(np.array_equal(mine, theirs) for mine, theirs in zip(one.lookup(asked), other.lookup(asked), strict=True))
    other.insert(~keys, ids, cap=cap)
    assert len(other) > len(one)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 99), st.integers(1, 3000), st.integers(1, 40), st.integers(1, 9), st.booleans(), st.integers(1, 4))
def test_what_is_filled_at_once_is_what_was_inserted(seed: int, size: int, hot: int, cap: int, is_wide: bool, cuts: int) -> None:
    check(keys_of(seed, size, hot), before=size // 5, expected=size, cap=cap, is_wide=is_wide, cuts=cuts)


@pytest.mark.parametrize("is_wide", [False, True])
@pytest.mark.parametrize("expected", [200_000, 1000])
def test_in_many_regions_with_repeats_that_do_not_fit_and_with_more_than_was_expected(expected: int, is_wide: bool) -> None:
    check(keys_of(1, 300_000, 5), before=1000, expected=expected, cap=3, is_wide=is_wide, cuts=9)
