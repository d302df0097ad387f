"""A table in two levels answers as one table does, whatever is put in, however cut, and however often it goes to disk."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_ray.dedup.hashing import U32, U64
from synth_ray.dedup.index import Index
from synth_ray.dedup.row_file import RowFile
from synth_ray.dedup.spill import stores_on_disk
from synth_ray.dedup.stores import KeyTable, MemoryRows, StoredRows
from synth_ray.dedup.table import Table
from synth_ray.dedup.two_level import MOST_WAITING, TwoLevelTable
from synth_ray.errors import SynthRayError
from synth_ray.job.dedup import Dedup
from tests.unit.dedup.test_index import batch_of, texts_with_repeats

# Few keys, so that they repeat: the absent one, and some that differ in `hi` only, in `lo` only, or in bits of a wide table only.
KEYS = st.sampled_from([0, 1, *((hi << 32 | lo << 16) for hi in (0, 1, 2**31, 2**32 - 1) for lo in (0, 7, 65535)), 7 << 40 | 5])
PAIRS = st.lists(st.tuples(KEYS, st.integers(0, 6)), max_size=30)


def listed(table: KeyTable) -> list[tuple[int, int]]:
    return [
        pair
        for keys, ids in (table.pairs(part, 3) for part in range(3))
        for pair in zip(keys.tolist(), ids.tolist(), strict=True)
    ]


@settings(max_examples=80)
@given(st.lists(PAIRS, max_size=12), st.integers(1, 3), st.integers(1, 9), st.booleans(), st.booleans())
def test_it_answers_as_one_table_does(
    calls: list[list[tuple[int, int]]], cap: int, hot_entries: int, is_wide: bool, waits: bool
) -> None:
    one = Table(is_wide=is_wide)
    with TemporaryDirectory() as folder:
        two = TwoLevelTable(Path(folder) / "table", cap=cap, hot_bytes=24 * hot_entries, is_wide=is_wide)
        for call in calls:
            keys, ids = np.array([key for key, _ in call], U64), np.array([number for _, number in call], U32)
            one.insert(keys, ids, cap=cap)
            two.insert(keys, ids, cap=cap)
            asked = np.concatenate((keys, np.array([3 << 32, 1 << 63], U64)))
            assert [a.tolist() for a in two.lookup(asked)] == [a.tolist() for a in one.lookup(asked)]
            if waits:
                two.settle()
            assert two.runs <= 1 + np.log2(1 + sum(map(len, calls)) / hot_entries) + (0 if waits else MOST_WAITING + 1)
        assert listed(two) == listed(one)
        two.close()
        assert not list((Path(folder) / "table").iterdir())


def test_a_large_table_is_cut_and_merged_in_pieces(tmp_path: Path) -> None:
    draw = np.random.default_rng(5)
    one, two = Table(), TwoLevelTable(tmp_path / "table", cap=4, hot_bytes=6_000_000)
    for at in range(18):
        keys = draw.integers(0, 2**64, 150_000, U64, endpoint=False)
        keys[::5] = draw.choice(keys[:50], 30_000)
        ids = np.arange(at * 150_000, (at + 1) * 150_000, dtype=U32)
        one.insert(keys, ids, cap=4)
        two.insert(keys, ids, cap=4)
        assert all(np.array_equal(a, b) for a, b in zip(one.lookup(keys), two.lookup(keys), strict=True))
    two.settle()
    assert two.runs > 1
    assert two.nbytes < 0.5 * one.nbytes
    assert two.disk_nbytes == 6 * (len(two) - len(two._hot))
    two.close()


def test_a_full_disk_is_said_in_words_and_leaves_no_file(tmp_path: Path) -> None:
    two = TwoLevelTable(tmp_path / "table", cap=8, hot_bytes=20_000)
    keys = np.random.default_rng(1).integers(1, 2**63, 100_000, U64)
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(SynthRayError, match=r"the index on the local disk, got a full disk; free some space"):
            two.insert(keys, np.zeros(100_000, U32), cap=8)
            two.settle()
        with pytest.raises(SynthRayError, match="got a full disk"):
            two.lookup(keys)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    two.close()
    assert not list((tmp_path / "table").iterdir())


def test_a_merge_that_fails_on_its_thread_is_heard_at_every_later_call(tmp_path: Path) -> None:
    two = TwoLevelTable(tmp_path / "table", cap=1, hot_bytes=20_000)
    keys = np.random.default_rng(1).integers(1, 2**63, 2001, U64)
    two.insert(keys[:1001], np.zeros(1001, U32), cap=1)  # the 1001st makes a run of those before it
    os.truncate(tmp_path / "table" / "run-000001.ids", 100)
    two.insert(keys[1001:], np.zeros(1000, U32), cap=1)  # makes a second one, which is merged with it
    two._merge._thread.join()  # type: ignore[union-attr]
    calls = (two.settle, lambda: two.lookup(keys), lambda: two.insert(keys, np.zeros(2001, U32), cap=1), lambda: two.pairs(0, 1))
    for call in calls:
        with pytest.raises(SynthRayError, match="who shortened it"):
            call()
    two.close()
    assert not list((tmp_path / "table").iterdir())


def test_a_table_that_is_closed_ends_its_merge_and_leaves_no_file(tmp_path: Path) -> None:
    two = TwoLevelTable(tmp_path / "table", cap=1, hot_bytes=400_000)
    two.insert(np.random.default_rng(2).integers(1, 2**63, 90_000, U64), np.zeros(90_000, U32), cap=1)
    two.close()
    assert not list((tmp_path / "table").iterdir())


@settings(max_examples=30)
@given(st.lists(st.lists(st.lists(st.integers(0, 2**32 - 1), max_size=5), max_size=6), max_size=6), st.randoms())
def test_a_row_file_gives_back_what_rows_in_memory_do(batches: list[list[list[int]]], draw: Random) -> None:
    rows = MemoryRows()
    with TemporaryDirectory() as folder:
        file = RowFile(Path(folder) / "rows")
        for batch in batches:
            size = len(batch)
            ends = np.concatenate((np.zeros(1, np.int64), np.cumsum([len(row) for row in batch], dtype=np.int64)))
            ids = np.array([draw.randrange(3) for _ in range(16 * size)], np.uint8).reshape(size, 16)
            digests = np.array([draw.randrange(2**64) for _ in range(2 * size)], U64).reshape(size, 2)
            kept = StoredRows(
                ids, np.zeros(size, np.uint8) + 1, digests, np.array([hash_ for row in batch for hash_ in row], U32), ends
            )
            rows.append(kept)
            file.append(kept)
            some = np.array(sorted(draw.sample(range(len(rows)), len(rows) // 2)), np.int64)
            assert len(file) == len(rows)
            assert [a.tolist() for a in file.fetch(some)] == [a.tolist() for a in rows.fetch(some)]
            assert file.ids_of(some).tolist() == rows.ids_of(some).tolist()
            assert file.splits_of(some).tolist() == rows.splits_of(some).tolist()
            assert [a.tolist() for a in file.numbers_of(ids[::-1])] == [a.tolist() for a in rows.numbers_of(ids[::-1])]
        file.close()
        assert not list((Path(folder) / "rows").iterdir())


@settings(max_examples=12)
@given(st.integers(0, 99), st.sampled_from([1, 7, 300, 5000]), st.integers(20, 20_000), st.integers(1, 8))
def test_an_index_on_disk_decides_as_one_in_memory(seed: int, size: int, hot_entries: int, cap: int) -> None:
    section = Dedup(ngram=3, min_tokens=4, bucket_cap=cap)
    batch = batch_of(texts_with_repeats(seed, 600), section)
    rooms, cells = np.array([150, 200]), np.arange(len(batch)) % 2
    with TemporaryDirectory() as folder:
        on_disk = Index(section, stores=stores_on_disk(Path(folder), cap=cap, hot_bytes=40 * hot_entries))
        expected = Index(section).decide(batch, remaining_rows=rooms.copy(), cell=cells)
        found = [
            on_disk.decide(batch.slice(at, at + size), remaining_rows=rooms, cell=cells[at : at + size])
            for at in range(0, len(batch), size)
        ]
        for name in ("code", "number", "similarity"):
            assert np.concatenate([getattr(part, name) for part in found]).tolist() == getattr(expected, name).tolist()
