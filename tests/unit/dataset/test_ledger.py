from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.dataset.ledger import CHUNKS, COMMITS, JOB, Commit, Ledger
from synth_ray.dataset.ranges import Ranges
from synth_ray.errors import Conflict, JobError, ObjectNotFound, StorageError
from synth_ray.storage import Storage
from tests.rows import staged_chunk

FACTS = {"ask_digest": "d0", "tokens": {"prompt": 5, "completion": 7, "cached": 0}}
LATER = 4e9


def test_a_staged_chunk_is_read_back_unchanged(store: Storage) -> None:
    ledger, table = Ledger(store), staged_chunk(3)
    commit = ledger.commit_chunk(3, table, FACTS)
    assert commit == ledger.read_commit(3)
    assert (commit.rows, commit.facts, commit.reasons) == (8, FACTS, {"": 8})
    assert ledger.read_chunk(3).equals(table)
    assert ledger.read_chunk(3, ["id", "split"]).equals(table.select(["id", "split"]))


def test_an_uncommitted_chunk_cannot_be_read(store: Storage) -> None:
    ledger = Ledger(store)
    store.write(f"{CHUNKS}00000001/0123456789abcdef.parquet", b"half")
    assert len(ledger.committed_chunks()) == 0
    with pytest.raises(ObjectNotFound):
        ledger.read_chunk(1)


def test_the_first_commit_of_a_chunk_wins_and_a_second_attempt_gets_its_record(store: Storage) -> None:
    ledger = Ledger(store)
    first = ledger.commit_chunk(0, staged_chunk(0, rows=8), FACTS)
    second = ledger.commit_chunk(0, staged_chunk(0, rows=9), FACTS)
    assert second == first
    assert ledger.read_chunk(0).num_rows == 8
    assert [entry.path != first.object for entry in ledger.orphans()] == [True]


def test_one_of_many_concurrent_attempts_is_committed_and_all_get_its_record(store: Storage) -> None:
    commits: list[Commit] = []
    barrier = threading.Barrier(6)

    def attempt(rows: int) -> None:
        barrier.wait()
        commits.append(Ledger(store).commit_chunk(0, staged_chunk(0, rows=rows), FACTS))

    threads = [threading.Thread(target=attempt, args=(n + 1,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [c == commits[0] for c in commits] == [True] * 6
    assert Ledger(store).read_chunk(0).num_rows == commits[0].rows


def test_the_same_chunk_staged_again_leaves_no_orphan(store: Storage) -> None:
    ledger = Ledger(store)
    assert ledger.commit_chunk(0, staged_chunk(0), FACTS) == ledger.commit_chunk(0, staged_chunk(0), FACTS)
    assert list(ledger.orphans()) == []


def test_sweep_deletes_only_old_orphans(store: Storage) -> None:
    ledger = Ledger(store)
    kept = ledger.commit_chunk(0, staged_chunk(0), FACTS)
    ledger.commit_chunk(0, staged_chunk(0, rows=1), FACTS)
    store.write(f"{CHUNKS}00000007/0123456789abcdef.parquet", b"half")
    assert ledger.delete_orphans(now=0.0) == []
    assert len(ledger.delete_orphans(now=LATER)) == 2
    assert [e.path for e in store.list(CHUNKS)] == [kept.object]
    assert ledger.read_chunk(0).num_rows == 8


def test_committed_chunks_are_listed_as_ranges(store: Storage) -> None:
    for chunk in (0, 1, 2, 5, 6, 99_999_999):
        store.write(f"{COMMITS}{chunk:08d}.json", b"{}")
    store.write(f"{COMMITS}notes.txt", b"")
    assert Ledger(store).committed_chunks().runs == [(0, 3), (5, 7), (99_999_999, 100_000_000)]


@given(st.sets(st.integers(0, 60)))
def test_ranges_equal_the_set_they_were_built_from(numbers: set[int]) -> None:
    ranges = Ranges(sorted(numbers))
    assert list(ranges) == sorted(numbers)
    assert len(ranges) == len(numbers)
    assert [n for n in range(-1, 62) if n in ranges] == sorted(numbers)
    assert all(a_end < b_start for (_, a_end), (b_start, _) in zip(ranges.runs, ranges.runs[1:], strict=False))


@pytest.mark.parametrize("broken", [b"", b"PAR1 torn"])
def test_a_staged_object_that_changed_is_refused_and_the_error_quotes_nothing(store: Storage, broken: bytes) -> None:
    ledger = Ledger(store)
    commit = ledger.commit_chunk(0, staged_chunk(0), FACTS)
    store.write(commit.object, broken)
    with pytest.raises(StorageError, match="commit record") as caught:
        ledger.read_chunk(0)
    assert "question" not in str(caught.value)


def test_a_commit_record_counts_the_reasons_of_its_rows(store: Storage) -> None:
    commit = Ledger(store).commit_chunk(0, staged_chunk(0, rows=3, reason="refusal"), FACTS)
    assert commit.reasons == {"refusal": 3}


PINNED = {"ask_digest": "d0", "job_digest": "j0", "keys": {"sampling.temperature": 0.8, "recipe.name": "distill"}}


def test_the_same_job_may_run_again(store: Storage) -> None:
    ledger = Ledger(store)
    assert ledger.pin_or_compare(PINNED) == PINNED
    assert ledger.pin_or_compare({**PINNED, "job_digest": "j1"}) == PINNED
    assert store.exists(JOB)


def test_another_job_is_refused_with_the_keys_that_differ(store: Storage) -> None:
    ledger = Ledger(store)
    ledger.pin_or_compare(PINNED)
    keys = {"sampling.temperature": 0.7, "recipe.name": "distill"}
    with pytest.raises(JobError, match=r"sampling\.temperature \(was 0\.8, is 0\.7\)") as caught:
        ledger.pin_or_compare({"ask_digest": "d1", "keys": keys})
    assert "recipe.name" not in str(caught.value)
    with pytest.raises(JobError, match="seeds"):
        ledger.pin_or_compare({**PINNED, "ask_digest": "d1"})


def test_only_one_of_several_jobs_pinned_at_once_is_accepted(store: Storage) -> None:
    accepted: list[bool] = []
    barrier = threading.Barrier(4)

    def pin(number: int) -> None:
        barrier.wait()
        try:
            Ledger(store).pin_or_compare({"ask_digest": f"d{number}"})
            accepted.append(True)
        except (JobError, Conflict):
            accepted.append(False)

    threads = [threading.Thread(target=pin, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(accepted) == [False, False, False, True]
