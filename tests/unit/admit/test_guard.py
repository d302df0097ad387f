from __future__ import annotations

from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.admit.guard import LEAK_NGRAM, SplitLeakGuard
from synth_ray.dedup.hashing import U8, U32
from synth_ray.records import SPLITS, TRAIN

# Few sentences, so that rows share them; each is one n-gram long, and words of different sentences differ.
ROWS = st.lists(st.tuples(st.sampled_from(SPLITS), st.lists(st.integers(0, 4), max_size=3)), max_size=12)


def arrays(rows: list[tuple[str, list[int]]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    words = [[1 + 100 * part + k for part in parts for k in range(LEAK_NGRAM)] for _, parts in rows]
    ends = np.concatenate(([0], np.cumsum([len(row) for row in words]))).astype(np.int64)
    return np.array([word for row in words for word in row], U32), ends, np.array([SPLITS.index(split) for split, _ in rows], U8)


def share_across_splits(first: tuple[str, list[int]], second: tuple[str, list[int]]) -> bool:
    return (first[0] == TRAIN) != (second[0] == TRAIN) and bool(set(first[1]) & set(second[1]))


@given(kept=ROWS, rows=ROWS)
def test_a_row_is_blocked_by_a_kept_row_else_by_each_earlier_row_of_the_other_side_with_a_shared_ngram(
    kept: list[tuple[str, list[int]]], rows: list[tuple[str, list[int]]]
) -> None:
    guard = SplitLeakGuard()
    guard.keep(*arrays(kept), np.ones(len(kept), bool), np.arange(len(kept)))
    result = guard.blockers(*arrays(rows))
    blockers = [result.blocker[a:b].tolist() for a, b in zip(result.ends[:-1], result.ends[1:], strict=True)]
    by_kept = {i for i, row in enumerate(rows) if any(share_across_splits(row, other) for other in kept)}
    for i in by_kept:
        assert len(blockers[i]) == 1
        assert blockers[i][0] >= 0
    free = [i for i in range(len(rows)) if i not in by_kept]
    pairs = {(j, i) for i, j in combinations(free, 2) if share_across_splits(rows[i], rows[j])}
    assert {(i, -1 - by) for i in free for by in blockers[i]} == pairs
