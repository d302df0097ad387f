from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from synth_ray.admit.admission import Admission
from synth_ray.admit.guard import LEAK_NGRAM
from synth_ray.admit.kept_rows import KeptRows
from synth_ray.admit.verdicts import Policy
from synth_ray.dedup.compared import compared_text
from synth_ray.dedup.decontaminate import QuotedTexts
from synth_ray.dedup.fingerprint import Fingerprinter
from synth_ray.dedup.memory import bytes_a_row, bytes_a_row_beside_disk
from synth_ray.dedup.saved_stores import read_stores, write_stores
from synth_ray.dedup.sharded import ShardedStores
from synth_ray.dedup.spill import stores_on_disk
from synth_ray.dedup.two_level import TwoLevelTable
from synth_ray.job.check import Check
from synth_ray.job.dedup import Decontaminate, Dedup
from synth_ray.records import SPLITS, STAGED, digest
from tests.rows import staged_row
from tests.unit.dedup.test_shards import CAPS, Here

SECTION = Dedup(ngram=3)
PRINTS = Fingerprinter(SECTION)
NOTHING = STAGED.empty_table()


def staged(texts: list[tuple[str, str]], **changes: Any) -> pa.Table:
    """Rows of (split, completion), scrubbed and fingerprinted."""
    rows = [staged_row(i, split=s, prompt="", completion=t, **changes) for i, (s, t) in enumerate(texts)]
    for row, (_, text) in zip(rows, texts, strict=True):
        row["id"] = digest("row", row["position"], text, changes)
    table = pa.Table.from_pylist(rows, schema=STAGED)
    return PRINTS.fingerprint_rows(table, compared_text(table, ["completion"]))


def sentence(seed: int, words: int = 40) -> str:
    draw = random.Random(seed)
    return " ".join(f"w{draw.randrange(50_000)}" for _ in range(words))


def reasons(admission: Admission, table: pa.Table) -> list[str | None]:
    return list(admission.decide(table)["reason"].to_pylist())


def test_a_train_row_near_a_real_evaluation_row_is_rejected_and_never_the_evaluation_row() -> None:
    real = staged([("test", sentence(1))], origin="real")
    admission = Admission(dedup=SECTION, real=real)
    verdicts = admission.decide(staged([("train", sentence(1) + " more"), ("train", sentence(2))]))
    assert verdicts["reason"].to_pylist() == ["cross_split", None]
    assert verdicts["witness"][0].as_py() == real["id"][0].as_py()
    assert verdicts["detail"][0].as_py() == "near_duplicate of a row of test"


def test_a_short_text_crosses_no_split_whatever_its_punctuation() -> None:
    said = [("train", "thanks again!"), ("test", "Thanks,  again"), ("test", "thanks"), ("train", "12 + 3"), ("test", "12 * 3")]
    table = staged(said)
    verdicts = Admission(dedup=SECTION, real=NOTHING).decide(table)
    assert verdicts["reason"].to_pylist() == [None, "cross_split", None, None, None]
    assert verdicts["detail"][1].as_py() == "exact_duplicate of a row of train"
    assert verdicts["witness"][1].as_py() == table["id"][0].as_py()


@pytest.mark.parametrize(("first", "second"), [("train", "test"), ("test", "train")])
@pytest.mark.parametrize("in_one_batch", [True, False])
def test_an_ngram_in_train_and_evaluation_rejects_the_later_row(first: str, second: str, in_one_batch: bool) -> None:
    shared = sentence(3, 13)
    rows = [(first, f"{sentence(4)} {shared}"), (second, f"{shared} {sentence(5)}"), (first, f"{shared} {sentence(6)}")]
    admission = Admission(dedup=SECTION, real=NOTHING)
    tables = [staged(rows)] if in_one_batch else [staged([row]) for row in rows]
    assert [r for t in tables for r in reasons(admission, t)] == [None, "cross_split", None]


def test_a_leak_names_the_first_shared_ngram_and_the_first_kept_row_that_has_it() -> None:
    shared, later = sentence(3, 13), sentence(20, 13)
    kept = staged([("train", f"{sentence(4)} {later} {shared}"), ("train", f"{shared} {sentence(7)}")])
    admission = Admission(dedup=SECTION, real=NOTHING)
    assert reasons(admission, kept) == [None, None]
    leaking = staged([("validation", f"{sentence(5, 9)}, {shared}! {sentence(6, 9)} {later}"), ("test", sentence(8))])
    first, second = admission.decide(leaking).to_pylist()
    assert (first["reason"], first["witness"], first["similarity"]) == ("cross_split", kept["id"][0].as_py(), None)
    assert first["detail"] == "shares 13 words with a row of train, from word 10 of the completion on"
    assert (second["reason"], second["detail"]) == (None, None)


def test_an_ngram_of_an_earlier_runs_evaluation_row_rejects_a_train_row() -> None:
    shared, kept = sentence(3, 13), KeptRows.empty(SECTION, fills=False)  # its n-grams are loaded, and count
    first = Admission(dedup=SECTION, real=NOTHING)
    others = Admission(dedup=SECTION, real=NOTHING)
    earlier = staged([("test", f"{sentence(4)} {shared}")])
    assert reasons(first, earlier) == [None]
    assert reasons(others, staged([("train", sentence(9))])) == [None]
    for run in (others, first):  # their rows are numbered one run after the other
        saved = io.BytesIO()
        write_stores(saved, {}, run.index.stores, tables=CAPS)
        assert read_stores(io.BytesIO(saved.getvalue()), kept.index.stores, caps=CAPS, accept=lambda _: None)
    second = Admission(dedup=SECTION, real=NOTHING, kept=kept)
    verdicts = second.decide(staged([("train", f"{shared} {sentence(5)}"), ("test", f"{shared} {sentence(6)}")]))
    assert verdicts["reason"].to_pylist() == ["cross_split", None]
    assert verdicts["witness"].to_pylist() == [earlier["id"][0].as_py(), None]


@pytest.mark.parametrize("in_shards", [False, True])
def test_no_kept_ngram_crosses_splits_for_any_chunk_size_wherever_the_kept_rows_are(in_shards: bool) -> None:
    draw = random.Random(7)
    parts = [sentence(100 + i, 14) for i in range(30)]
    rows = [(draw.choice(SPLITS), " ".join([*draw.sample(parts, 2), sentence(1000 + i, 20)])) for i in range(200)]
    table = staged(rows)
    unsliced = Admission(dedup=SECTION, real=NOTHING).decide(table)
    lose = Here(3, lambda call: [call % 3] if call % 4 == 1 else [])
    stores = ShardedStores(lose, save_bytes=1 << 15).stores if in_shards else None
    sliced = Admission(dedup=SECTION, real=NOTHING, kept=KeptRows.empty(SECTION, stores))
    assert pa.concat_tables([sliced.decide(table.slice(at, 17)) for at in range(0, 200, 17)]).equals(unsliced)
    decided = unsliced["reason"].to_pylist()
    assert "cross_split" in decided
    kept = [(split == "train", text) for (split, text), reason in zip(rows, decided, strict=True) if reason is None]
    accepted = set(unsliced.filter(pc.is_null(unsliced["reason"]))["id"].to_pylist())
    assert {row["witness"] for row in unsliced.to_pylist() if row["reason"] is not None} <= accepted
    for part in parts:
        assert len({train for train, text in kept if part in text}) <= 1


def test_a_job_of_one_side_remembers_no_ngrams() -> None:
    kept = KeptRows.empty(SECTION, fills=False)
    before = kept.index.stores.train.nbytes
    assert (
        reasons(Admission(dedup=SECTION, real=NOTHING, kept=kept), staged([("train", sentence(i)) for i in range(300)]))
        == [None] * 300
    )
    assert kept.index.stores.train.nbytes == before


@pytest.mark.parametrize(("words", "fills"), [(40, True), (200, True), (200, False)])
def test_the_memory_of_a_row_is_what_a_plan_says(words: int, fills: bool) -> None:
    rows, vocabulary = 4000, np.random.default_rng(1).integers(0, 10**9, (4000, words))
    kept = KeptRows.empty(SECTION, fills=fills)
    admission = Admission(dedup=SECTION, real=NOTHING, kept=kept)
    for at in range(0, rows, 1000):
        admission.decide(staged([("train", " ".join(f"w{word}" for word in row)) for row in vocabulary[at : at + 1000].tolist()]))
    empty = KeptRows.empty(SECTION).index.stores.nbytes
    said = bytes_a_row(SECTION, words=words, guard_ngram=LEAK_NGRAM if fills else None)
    assert kept.index.kept == rows
    assert (admission.index_bytes - empty) / rows == pytest.approx(said, rel=0.15)


def test_the_memory_of_a_row_beside_files_is_what_a_plan_says(tmp_path: Path) -> None:
    rows, words = 4000, 60
    stores = stores_on_disk(tmp_path / "index", cap=SECTION.bucket_cap, hot_bytes=60_000)
    kept, empty, no_ngrams = KeptRows.empty(SECTION, stores), stores.nbytes, stores.train.nbytes
    admission = Admission(dedup=SECTION, real=NOTHING, kept=kept)
    for text in np.random.default_rng(1).integers(0, 10**9, (4, rows // 4, words)).tolist():
        admission.decide(staged([("train", " ".join(f"w{word}" for word in row)) for row in text]))
    for table in (stores.keys, stores.train):
        assert isinstance(table, TwoLevelTable)
        table.settle()
    said = bytes_a_row_beside_disk(SECTION, words=words, guard_ngram=LEAK_NGRAM)
    assert (admission.index_bytes - empty) / rows == pytest.approx(said, rel=0.15)
    assert 1.1 < (stores.train.nbytes - no_ngrams) / len(stores.train) < 1.3, "bytes of memory for a long n-gram of the guard"


def test_a_contaminated_row_names_the_evaluation_sets_it_quotes_and_each_set_counts_its_rows() -> None:
    sets = {"gold": [8], "both": [8, 7], "none": [99]}
    evals = {name: QuotedTexts(*PRINTS.words(pa.array([sentence(n) for n in of])), Decontaminate()) for name, of in sets.items()}
    admission = Admission(dedup=SECTION, real=NOTHING, evals=evals)
    quoting = [f"{sentence(9)} {sentence(8)}", f"{sentence(7)} and more", sentence(10)]
    verdicts = admission.decide(staged([("train", text) for text in quoting]))
    assert verdicts["reason"].to_pylist() == ["contaminated", "contaminated", None]
    assert verdicts["detail"].to_pylist() == ["gold, both", "both", None]
    assert admission.contaminated_by_set == {"gold": 1, "both": 2, "none": 0}


def test_past_the_target_rows_are_over_quota() -> None:
    admission = Admission(dedup=SECTION, real=NOTHING, remaining_rows=np.array([1]))
    assert reasons(admission, staged([("train", sentence(11)), ("train", sentence(12))])) == [None, "over_quota"]


@pytest.mark.parametrize(("drop_real_refusals", "of_real"), [(False, None), (True, "refusal")])
def test_a_refusal_rejects_a_copied_real_row_only_if_the_job_says_so(drop_real_refusals: bool, of_real: str | None) -> None:
    check = Check(drop_real_refusals=drop_real_refusals)
    admission = Admission(dedup=SECTION, real=NOTHING, policy=Policy.of_checks(check))
    made = reasons(admission, staged([("train", sentence(1))], flags=["refusal"]))
    copied = reasons(admission, staged([("train", sentence(2))], flags=["refusal"], origin="real"))
    looping = reasons(admission, staged([("train", sentence(3))], flags=["refusal", "truncated"], origin="real"))
    assert (made, copied) == (["refusal"], [of_real])
    assert looping == [of_real or "truncated"]
