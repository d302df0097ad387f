"""A table that grew holds what one of its final size would, and an array that moved holds what it had."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_ray.dedup.growing import Growing
from synth_ray.dedup.hashing import U32, U64
from synth_ray.dedup.table import Table


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 30_000), min_size=1, max_size=6), st.booleans(), st.integers(0, 2**32 - 1))
def test_a_table_that_grew_is_the_table_of_its_final_size(sizes: list[int], is_wide: bool, seed: int) -> None:
    draw = np.random.default_rng(seed)
    keys = draw.integers(1, 2**64, sum(sizes), U64)
    keys[::7] = draw.choice(keys, len(keys[::7]))  # some keys have several ids
    numbers = np.arange(len(keys), dtype=U32)
    grown, at = Table(is_wide=is_wide), 0
    for size in sizes:
        grown.insert(keys[at : at + size], numbers[at : at + size], cap=8)
        at += size
        grown.grow_step()
    whole = Table(is_wide=is_wide)
    whole._grow(grown.size)
    whole.insert(keys, numbers, cap=8)
    assert len(whole) == len(grown)
    taken = whole.slots.entries["hi"] != 0
    assert np.array_equal(taken, grown.slots.entries["hi"] != 0)
    assert np.array_equal(whole.slots.entries[taken], grown.slots.entries[taken])


def test_an_array_keeps_what_it_has_when_it_becomes_a_mapping_and_moves_and_so_does_a_view_of_it() -> None:
    growing, fill = Growing(np.uint16, 5, width=2), 7
    for length in (1_000, 1_300_000, 1_300_001, 3_000_000):
        before = len(growing.array)
        growing.array[:] = fill
        view = growing.array[:1] if length == 3_000_000 else None
        growing.resize(length)
        assert growing.array.shape == (length, 2)
        assert (growing.array[:before] == fill).all() and not growing.array[before:].any()
        assert view is None or (view == fill).all()
