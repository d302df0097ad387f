from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from synth_ray.dedup.fingerprint import Fingerprinter
from synth_ray.dedup.index import EXACT, NEAR, NEW, OVER_QUOTA, Batch, Index
from synth_ray.job.dedup import Dedup

SECTION = Dedup(ngram=3, min_tokens=4)


def texts_with_repeats(seed: int, n: int) -> list[str]:
    """Texts of a small vocabulary; half of them an earlier one with a few words changed."""
    draw, made = random.Random(seed), []
    for _ in range(n):
        if made and draw.random() < 0.5:
            words = draw.choice(made).split()
            for _ in range(draw.randrange(3)):
                words[draw.randrange(len(words))] = f"w{draw.randrange(3000)}"
        else:
            words = [f"w{draw.randrange(3000)}" for _ in range(draw.randrange(3, 60))]
        made.append(" ".join(words))
    return made


def batch_of(texts: list[str], section: Dedup = SECTION) -> Batch:
    prints = Fingerprinter(section)(pa.array(texts, pa.large_string()))
    ids = np.frombuffer(b"".join(i.to_bytes(16, "big") for i in range(len(texts))), np.uint8).reshape(-1, 16)
    return Batch(ids, np.zeros(len(texts), np.uint8), prints.digests, prints.bands, prints.shingles, prints.offsets)


def decide(index: Index, batch: Batch, *, size: int = 10**9, room: int = 2**62) -> tuple[list[int], list[int]]:
    rooms, codes, numbers = np.array([room]), [], []
    for at in range(0, len(batch), size):
        part = batch.slice(at, min(len(batch), at + size))
        found = index.decide(part, remaining_rows=rooms, cell=np.zeros(len(part), np.int64))
        codes += found.code.tolist()
        numbers += found.number.tolist()
    return codes, numbers


def shingles_of(batch: Batch, row: int) -> set[Any]:
    return set(batch.shingles[batch.offsets[row] : batch.offsets[row + 1]].tolist())


@pytest.mark.parametrize("size", [1, 7, 100, 5000])
def test_the_kept_rows_do_not_depend_on_the_batches(size: int) -> None:
    batch = batch_of(texts_with_repeats(1, 3000))
    assert decide(Index(SECTION), batch, size=size) == decide(Index(SECTION), batch)


def test_every_drop_has_a_kept_witness_that_is_as_near_as_told() -> None:
    batch = batch_of(texts_with_repeats(2, 4000))
    index = Index(SECTION)
    found = index.decide(batch, remaining_rows=np.array([2**62]), cell=np.zeros(4000, np.int64))
    kept_row = np.flatnonzero(found.code == NEW)
    assert set(np.unique(found.code)) == {NEW, EXACT, NEAR}
    for row in np.flatnonzero(found.code == NEAR).tolist():
        witness = int(kept_row[found.number[row]])
        mine, theirs = shingles_of(batch, row), shingles_of(batch, witness)
        similarity = len(mine & theirs) / len(mine | theirs)
        assert witness < row
        assert similarity == pytest.approx(found.similarity[row])
        assert similarity >= SECTION.threshold


def test_ten_thousand_distinct_texts_with_77_labels_lose_no_row() -> None:
    texts = [f"customer question number {i} about topic {i * 7919 % 10007}\x1flabel {i % 77}" for i in range(10_000)]
    codes, _ = decide(Index(SECTION), batch_of(texts))
    assert codes == [NEW] * 10_000


def test_below_min_tokens_only_identity_counts() -> None:
    codes, _ = decide(Index(SECTION), batch_of(["yes it is", "yes it was", "yes it is", "", "", "word"]))
    assert codes == [NEW, NEW, EXACT, NEW, EXACT, NEW]


def test_a_row_without_room_is_full_and_is_nobodys_witness() -> None:
    texts = ["one two three four five six", "seven eight nine ten eleven", "seven eight nine ten eleven"]
    codes, numbers = decide(Index(SECTION), batch_of(texts), room=1)
    assert codes == [NEW, OVER_QUOTA, OVER_QUOTA]
    assert numbers == [0, -1, -1]


def test_identical_and_all_template_rows_cost_no_more_than_their_cap() -> None:
    same = batch_of(["the very same text of seven words"] * 100_000)
    codes, _ = decide(Index(SECTION), same)
    assert codes.count(NEW) == 1
    template = "dear customer thank you for your order number {} it was sent today and will arrive at {} soon"
    texts = [template.format(i, i * 31) for i in range(3000)]
    codes, _ = decide(Index(Dedup(ngram=3, threshold=0.95)), batch_of(texts))
    assert codes == [NEW] * 3000


def test_rows_that_are_kept_by_force_are_kept_whatever_they_repeat() -> None:
    index = Index(SECTION)
    batch = batch_of(["a text that is said again and again"] * 3)
    assert index.keep_all(batch).code.tolist() == [NEW] * 3
    assert decide(index, batch)[0] == [EXACT] * 3
