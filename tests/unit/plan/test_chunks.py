from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from synth_ray.job.running import Plan
from synth_ray.plan.chunks import Planner
from synth_ray.recipes.catalogue import find
from synth_ray.records import SPLITS, Seed


class Seeds(list[Seed]):
    @property
    def splits(self) -> list[int]:
        return [SPLITS.index(seed.split) for seed in self]

    def take(self, indices: Sequence[int]) -> list[Seed]:
        return [self[index] for index in indices]


def seeds(n: int) -> Seeds:
    return Seeds(Seed(f"s{i}", f"l{i}", SPLITS[i % 3 if i > 3 else 0], {"prompt": f"p{i}"}) for i in range(n))


def planner(n: int, **plan: int) -> Planner:
    recipe = find("vary")
    return Planner(seeds(n), recipe=recipe, options=recipe.options(shots=2), plan=Plan(**plan), ask_digest="a")


@given(n=st.integers(1, 40), requests=st.integers(1, 120), size=st.integers(1, 50), seed=st.integers(0, 9))
def test_chunks_cover_every_request_once_and_each_epoch_every_seed_once(n: int, requests: int, size: int, seed: int) -> None:
    plan = planner(n, requests=requests, chunk_requests=size, seed=seed)
    chunks = [plan.chunk(k) for k in range(plan.chunks)]
    planned = [r for chunk in chunks for r in chunk]
    assert len(planned) == requests == len({r.id for r in planned})
    assert all(r.position == i and r.chunk == k for k, chunk in enumerate(chunks) for i, r in enumerate(chunk))
    for epoch in range(requests // n):
        assert len(Counter(r.seed.id for r in planned[epoch * n : (epoch + 1) * n])) == n
    assert plan.chunk(plan.chunks) == []


@given(n=st.integers(1, 40), k=st.integers(0, 3))
def test_companions_are_other_seeds_of_the_requests_own_split(n: int, k: int) -> None:
    for request in planner(n, requests=80, chunk_requests=20).chunk(k):
        assert all(shot.split == request.seed.split and shot.id != request.seed.id for shot in request.shots)
        assert len({shot.id for shot in request.shots}) == len(request.shots)


def test_a_chunk_depends_on_its_number_alone_and_the_seed_order_is_fixed() -> None:
    first, second = planner(30, requests=90, chunk_requests=16), planner(30, requests=90, chunk_requests=16)
    assert [first.chunk(k) for k in (3, 0, 2)] == [second.chunk(k) for k in (3, 0, 2)]
    assert [r.seed.id for r in first.chunk(0)][:6] == FIRST_SIX


FIRST_SIX = ["s13", "s5", "s12", "s10", "s25", "s8"]
