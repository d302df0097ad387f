"""The vectors and labels of kept rows: the same answers in memory, in shards that are lost, and on disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_ray.dedup import shards
from synth_ray.dedup.cells import Centroids, norms_of
from synth_ray.dedup.label_store import NO_ROW
from synth_ray.dedup.memory import label_bytes, vector_bytes
from synth_ray.dedup.semantic import SemanticIndex
from synth_ray.dedup.sharded import ShardedStores
from synth_ray.dedup.spill import stores_on_disk
from synth_ray.dedup.stores import Stores, VectorStore
from synth_ray.errors import SynthRayError
from synth_ray.publish.state import fill, from_arrays, state_of, to_arrays
from tests.unit.dedup.test_semantic import kept_rows, near_vectors
from tests.unit.dedup.test_shards import Here

Array = np.ndarray[Any, Any]


@contextmanager
def in_memory() -> Iterator[Stores]:
    yield Stores.in_memory()


@contextmanager
def in_shards_that_are_lost() -> Iterator[Stores]:
    """At calls 1, 2, 4, 8 and so on, so that a shard is made again from a log of any length before the next is lost."""
    host = Here(3, lambda call: [call.bit_length() % 3] if call & (call - 1) == 0 else [])
    yield ShardedStores(host, save_bytes=1 << 14).stores


@contextmanager
def on_disk() -> Iterator[Stores]:
    with TemporaryDirectory() as folder:
        stores = stores_on_disk(Path(folder), cap=8, hot_bytes=20_000)
        yield stores
        for store in (stores.vectors, stores.labels):
            store.close()  # type: ignore[attr-defined]
        assert not [file for name in ("vectors", "labels") for file in (Path(folder) / name).rglob("*") if file.is_file()]


FORMS = [in_memory, in_shards_that_are_lost, on_disk]
over_all_forms = pytest.mark.parametrize("form", FORMS)


def listed(store: VectorStore, vectors: Array, cells: Array, threshold: float) -> list[tuple[int, int, float]]:
    return sorted(zip(*(array.tolist() for array in store.near(vectors, cells, threshold)), strict=True))


def by_definition(
    vectors: Array, cells: Array, kept: Array, numbers: Array, centroids: Centroids | None, threshold: float
) -> list[tuple[int, int, float]]:
    norms, kept_norms = norms_of(vectors), norms_of(kept)
    products = vectors.astype(int) @ kept.astype(int).T
    near = (products >= threshold * np.outer(norms, kept_norms)) & (norms[:, None] > 0)
    if cells.shape[1]:
        assert centroids is not None
        near &= (centroids.nearest(kept, 1)[:, 0] == cells[:, :, None]).any(axis=1)
    row, place = np.nonzero(near)
    similarity = products[row, place] / (norms[row] * kept_norms[place])
    return sorted(zip(row.tolist(), numbers[place].tolist(), similarity.tolist(), strict=True))


@over_all_forms
@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    cuts=st.lists(st.integers(0, 400), max_size=6),
    cells_at=st.lists(st.integers(0, 400), max_size=3),
    probes=st.integers(1, 4),
)
def test_near_vectors_are_those_of_the_definition_wherever_they_are(
    form: Any, seed: int, cuts: list[int], cells_at: list[int], probes: int
) -> None:
    vectors, asked = near_vectors(seed, 400), near_vectors(seed, 30)
    vectors = vectors[vectors.any(axis=1)]
    numbers = np.sort(np.random.default_rng(seed).choice(2000, len(vectors), replace=False))
    centroids: Centroids | None = None
    with form() as stores:
        assert listed(stores.vectors, asked, np.zeros((30, 0), np.int32), 0.7) == []
        for at, end in pairwise(sorted({0, len(vectors), *(cut for cut in (*cuts, *cells_at) if cut < len(vectors))})):
            if at in cells_at:
                centroids = Centroids.of_sample(vectors, 3 + at % 5)
                stores.vectors.set_cells(centroids)
            stores.vectors.append(vectors[at:end], numbers[at:end])
            probed = centroids.nearest(asked, probes) if centroids is not None else np.zeros((30, 0), np.int32)
            for cells in (probed, np.zeros((30, 0), np.int32)):
                expected = by_definition(asked, cells, vectors[:end], numbers[:end], centroids, 0.7)
                assert listed(stores.vectors, asked, cells, 0.7) == expected


@over_all_forms
@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    cuts=st.lists(st.integers(0, 1200) | st.integers(98, 132), max_size=12),
    exact_rows=st.sampled_from([16, 64, 256]),
    threshold=st.sampled_from([0.85, 0.93]),
)
def test_the_same_rows_are_kept_in_any_batches_wherever_the_vectors_are(
    form: Any, seed: int, cuts: list[int], exact_rows: int, threshold: float
) -> None:
    vectors = near_vectors(seed, 1200)
    whole = kept_rows(SemanticIndex(threshold, exact_rows=exact_rows, probes=3), vectors, [])
    with form() as stores:
        index = SemanticIndex(threshold, store=stores.vectors, exact_rows=exact_rows, probes=3)
        assert kept_rows(index, vectors, cuts) == whole


@over_all_forms
def test_one_that_takes_up_what_another_had_answers_as_it_does(form: Any) -> None:
    vectors = near_vectors(5, 600)
    first, kept = SemanticIndex(0.9, exact_rows=16, probes=2), list[tuple[Array, Array]]()
    for at in range(0, 300, 50):
        first.blockers(vectors[at : at + 50])
        kept.append(first.keep(vectors[at : at + 50 : 2], np.arange(at, at + 50, 2)))
    with form() as stores:
        second = SemanticIndex(0.9, store=stores.vectors, exact_rows=16, probes=2)
        for entries in kept:
            second.keep(*entries)
        fill(second, from_arrays(to_arrays(state_of(first))))
        for at in range(300, 600, 50):
            mine, theirs = (index.blockers(vectors[at : at + 50]) for index in (first, second))
            assert mine.ends[-1] > 0
            assert all(np.array_equal(getattr(mine, name), getattr(theirs, name)) for name in ("ends", "blocker", "similarity"))
            for index in (first, second):
                index.keep(vectors[at : at + 50], np.arange(at, at + 50))


@over_all_forms
@given(st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=9), max_size=9))
def test_the_label_of_an_input_is_that_of_the_first_row_wherever_it_is(form: Any, calls: list[list[tuple[int, int]]]) -> None:
    known: dict[tuple[int, int], tuple[int, int]] = {}
    asked = np.array([(1 << 40 | one << 16 | 1, other) for one in range(4) for other in range(4)], np.uint64)
    with form() as stores:
        for call in calls:
            added = {(1 << 40 | one << 16 | 1, other): (one + other, len(known) + i) for i, (one, other) in enumerate(call)}
            added = {name: entry for name, entry in added.items() if name not in known}
            if added:
                stores.labels.append(np.array([(*name, *entry) for name, entry in added.items()], np.uint64))
            known |= added
            found = stores.labels.find(asked).tolist()
            assert found == [list(known.get((int(a), int(b)), (NO_ROW, NO_ROW))) for a, b in asked.tolist()]


def test_nothing_of_a_vector_or_a_label_stays_with_the_driver_once_shards_have_saved_it() -> None:
    host = Here(2)
    sharded = ShardedStores(host, save_bytes=1 << 12)
    vectors = near_vectors(1, 900)
    kept = kept_rows(SemanticIndex(0.95, store=sharded.stores.vectors, exact_rows=64), vectors, [300, 600])
    sharded.stores.labels.append(np.random.default_rng(1).integers(0, 2**63, (500, 4), np.uint64))
    sharded.stores.labels.find(np.zeros((1, 2), np.uint64))
    assert (sharded._logs, sharded._waiting) == ([[], []], [[], []])
    assert sharded.stores.nbytes == sum(shard.stores.nbytes for shard in host.held)
    in_shards = sum(shard.stores.vectors._numbers.length for shard in host.held)  # type: ignore[attr-defined]
    assert in_shards == sum(by < 0 for row, (by, _) in enumerate(kept) if vectors[row].any()) > 100


def test_shards_that_have_many_vectors_to_put_into_new_cells_are_asked_again_and_answer_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shards, "_SETTLED_AT_ONCE", 40)
    host, vectors = Here(2, lambda call: [call % 2] if call in (2, 5, 6) else []), near_vectors(4, 900)
    whole = kept_rows(SemanticIndex(0.93, exact_rows=64, probes=3), vectors, [])
    stores = ShardedStores(host, save_bytes=1 << 14).stores
    assert kept_rows(SemanticIndex(0.93, store=stores.vectors, exact_rows=64, probes=3), vectors, [300, 600]) == whole
    assert host.restarts == 3


def test_vectors_on_disk_take_memory_for_cells_and_not_for_rows(tmp_path: Path) -> None:
    stores = stores_on_disk(tmp_path, cap=8, hot_bytes=1_000_000)
    draw, sizes = np.random.default_rng(2), list[int]()
    vectors = draw.integers(-100, 100, (40_000, 64), np.int8)
    stores.vectors.set_cells(Centroids.of_sample(vectors[:500], 16))
    for at in range(0, 40_000, 10_000):
        stores.vectors.append(vectors[at : at + 10_000], np.arange(at, at + 10_000))
        sizes.append(stores.vectors.nbytes)
    assert sizes[-1] - sizes[0] < 30_000  # bytes, of 30,000 rows
    on_disk = stores.vectors.disk_nbytes  # type: ignore[attr-defined]
    assert 0.95 < on_disk / (40_000 * (64 + 12)) <= 1
    stores.vectors.set_cells(Centroids.of_sample(vectors[:500], 32))
    assert len(list((tmp_path / "vectors").iterdir())) == 3


def test_a_full_disk_is_said_in_words_and_the_vectors_that_were_there_still_answer(tmp_path: Path) -> None:
    import resource
    import signal

    store = stores_on_disk(tmp_path, cap=8, hot_bytes=1_000_000).vectors
    vectors = np.random.default_rng(2).integers(1, 100, (3000, 64), np.int8)
    store.append(vectors, np.arange(3000))
    expected = listed(store, vectors[:5], np.zeros((5, 0), np.int32), 0.99)
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(SynthRayError, match=r"the index on the local disk, got a full disk; free some space"):
            store.set_cells(Centroids.of_sample(vectors[:100], 8))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert listed(store, vectors[:5], np.zeros((5, 0), np.int32), 0.99) == expected
    store.close()  # type: ignore[attr-defined]
    assert not list((tmp_path / "vectors").iterdir())


@pytest.mark.parametrize(("form", "rows"), [(in_memory, 50_000), (in_memory, 70_000), (on_disk, 70_000)])
def test_the_memory_of_vectors_and_labels_is_what_a_plan_says(form: Any, rows: int) -> None:
    draw = np.random.default_rng(3)
    vectors = draw.integers(-100, 100, (rows, 32), np.int8)
    is_disk = form is on_disk
    with form() as stores:
        empty = stores.nbytes
        index = SemanticIndex(0.9, store=stores.vectors)
        index.skip(vectors)
        index.keep(vectors, np.arange(rows))
        said = vector_bytes(32, rows=rows, on_disk=is_disk)
        index.blockers(vectors[:1])  # makes the cells that were due, and fills them
        assert index.sample_bytes == pytest.approx(said.sample, rel=0.1)
        in_memory_of_one = 0 if is_disk else said.row
        assert stores.nbytes - empty == pytest.approx(rows * in_memory_of_one + said.cells, rel=0.15)
        before = stores.nbytes
        stores.labels.append(draw.integers(1, 2**63, (rows, 4), np.uint64))
        if not is_disk:
            assert stores.nbytes - before == pytest.approx(rows * label_bytes(on_disk=False), rel=0.15)
