from __future__ import annotations

import io
import os
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_ray.dedup import snapshot
from synth_ray.dedup.hashing import Array
from synth_ray.dedup.index import Index
from synth_ray.dedup.saved_stores import read_stores, write_stores
from synth_ray.dedup.semantic import SemanticIndex
from synth_ray.dedup.sharded import ShardedStores
from synth_ray.dedup.shards import Shard, pack
from synth_ray.dedup.stores import MemoryRows, Stores
from synth_ray.errors import JobError, SynthRayError
from synth_ray.job.dedup import Dedup
from tests.faults.test_killed_actors import actors
from tests.unit.dedup.test_index import SECTION, batch_of, decide, texts_with_repeats
from tests.unit.dedup.test_semantic import keep_next, kept_rows, near_vectors

CAPS = {"keys": SECTION.bucket_cap, "train": 1, "evaluation": 1}


class Here:
    """Shards in this process. `lose(call)` names the shards that are gone at a call; every third call is delivered twice."""

    def __init__(self, shards: int, lose: Callable[[int], list[int]] = lambda _: []) -> None:
        self.shards, self._lose, self._calls = shards, lose, 0
        self.held = [Shard() for _ in range(shards)]
        self._saved = [io.BytesIO() for _ in range(shards)]
        self._gone: set[int] = set()
        self.restarts = 0

    def apply_calls(self, messages: dict[int, Array]) -> dict[int, Array | None]:
        self._calls += 1
        self._gone.update(self._lose(self._calls))
        for _ in range(1 + (self._calls % 3 == 0)):
            replies = {s: None if s in self._gone else self.held[s].apply_call(m) for s, m in messages.items()}
        return replies

    def save(self) -> dict[int, int | None]:
        return {shard: self._save(shard) for shard in range(self.shards)}

    def _save(self, shard: int) -> int | None:
        if shard in self._gone:
            return None
        self.held[shard].save(self._saved[shard])
        self.held[shard].forget_saved()
        return self.held[shard].last

    def restart(self, shard: int) -> int:
        self.restarts += 1
        self._gone.discard(shard)
        self.held[shard] = Shard()
        self.held[shard].restore(io.BytesIO(self._saved[shard].getvalue()))
        return self.held[shard].last


def in_shards(host: Here, *, save_bytes: int = 1 << 26) -> Index:
    return Index(SECTION, stores=ShardedStores(host, save_bytes=save_bytes).stores)


@pytest.fixture(scope="module")
def batch() -> Any:
    return batch_of(texts_with_repeats(5, 3000) + ["all template rows but for number " + str(i) for i in range(200)])


@pytest.fixture(scope="module")
def whole(batch: Any) -> Any:
    return decide(Index(SECTION), batch)


@settings(max_examples=12, deadline=None)
@given(
    shards=st.integers(1, 8), size=st.integers(60, 3000), lost=st.sets(st.integers(1, 60), max_size=5), save=st.integers(13, 22)
)
def test_any_shards_lost_at_any_calls_keep_the_same_rows_in_any_batches(
    batch: Any, whole: Any, shards: int, size: int, lost: set[int], save: int
) -> None:
    host = Here(shards, lambda call: [call % shards] if call in lost else [])
    index = in_shards(host, save_bytes=1 << save)
    assert decide(index, batch, size=size) == whole
    rows = index.stores.rows
    numbers = np.arange(len(rows))[::-7].copy()
    assert np.array_equal(rows.ids_of(numbers), batch.ids[[whole[1].index(n) for n in numbers.tolist()]])
    assert sum(len(shard.stores.rows) for shard in host.held) == len(rows)


def test_rows_with_more_candidates_than_are_fetched_at_once_are_decided_in_parts(
    batch: Any, whole: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synth_ray.dedup.index._MAX_CANDIDATES", 30)
    assert decide(in_shards(Here(3)), batch) == whole


def test_nothing_of_a_row_stays_with_the_driver_once_shards_have_saved_it(batch: Any) -> None:
    host = Here(2)
    stores = ShardedStores(host, save_bytes=1 << 12)
    index = Index(SECTION, stores=stores.stores)
    decide(index, batch, size=500)
    index.stores.rows.ids_of(np.zeros(1, np.int64))
    assert (stores._logs, stores._waiting) == ([[], []], [[], []])
    assert index.nbytes == sum(shard.stores.keys.nbytes + shard.stores.rows.nbytes for shard in host.held)


def test_a_shard_that_dies_again_and_again_is_an_error(batch: Any) -> None:
    with pytest.raises(SynthRayError, match="index shard 0"):
        decide(in_shards(Here(1, lambda _: [0])), batch)


def test_a_shard_refuses_a_call_out_of_turn() -> None:
    with pytest.raises(ValueError, match="calls were lost"):
        Shard().apply_call(pack([1, "", ""], [np.ones(8, np.uint8)]))


@pytest.mark.parametrize("make", [Stores.in_memory, lambda: ShardedStores(Here(3)).stores])
@pytest.mark.parametrize("read_by", [Stores.in_memory, lambda: ShardedStores(Here(5)).stores])
def test_saved_stores_are_read_by_any_others_after_the_rows_that_are_there(
    batch: Any, whole: Any, make: Callable[[], Stores], read_by: Callable[[], Stores]
) -> None:
    saved, sink = make(), io.BytesIO()
    decide(Index(SECTION, stores=saved), batch.slice(0, 1500))
    grams = np.random.default_rng(1).integers(1, 2**64, 300, dtype=np.uint64)
    saved.train.insert(grams, np.arange(300, dtype=np.uint32), cap=1)
    write_stores(sink, {"of": "a test"}, saved, tables={"keys", "train"})
    index = Index(SECTION, stores=read_by())
    index.keep_all(batch_of(["a row that was there before these came"]))
    headers: list[Any] = []
    assert read_stores(io.BytesIO(sink.getvalue()), index.stores, caps=CAPS, accept=headers.append)
    assert headers == [{"of": "a test", "tables": ["keys", "train"]}]
    assert decide(index, batch.slice(1500, len(batch)))[0] == whole[0][1500:]
    at, numbers = index.stores.train.lookup(grams)
    assert (at.tolist(), numbers.tolist()) == (list(range(300)), list(range(1, 301)))
    assert not read_stores(io.BytesIO(sink.getvalue()[:-1]), read_by(), caps=CAPS, accept=headers.append)


@pytest.mark.parametrize("rows", [MemoryRows, lambda: ShardedStores(Here(3)).stores.rows])
def test_of_an_id_that_several_rows_have_the_first_is_named(rows: Callable[[], Any]) -> None:
    store, texts = rows(), batch_of([f"row {i}" for i in range(9)])
    for _ in range(2):
        index = Index(SECTION, stores=replace(Stores.in_memory(), rows=store))
        index.keep_all(texts)
    wanted = np.concatenate((texts.ids[[7, 2]], np.full((1, 16), 9, np.uint8), texts.ids[[2]]))
    at, numbers = store.numbers_of(wanted)
    assert {int(a): int(n) for a, n in zip(at, numbers, strict=True)} == {0: 7, 1: 2}


def test_a_snapshot_reads_back_and_a_torn_log_ends_before_the_tear() -> None:
    sink = io.BytesIO()
    arrays = {"b": np.zeros((0, 2), np.uint64), "c": np.ones(3), "a": np.arange(5, dtype=np.uint32)}
    for i in range(3):
        snapshot.write(sink, {"n": i}, arrays)
    data = sink.getvalue()
    assert [h["n"] for h, _ in snapshot.records(io.BytesIO(data))] == [0, 1, 2]
    assert [h["n"] for h, _ in snapshot.records(io.BytesIO(data[:-1]))] == [0, 1]
    changed = bytearray(data)
    changed[len(data) // 3 - 20] ^= 1  # in the last array of the first record
    assert list(snapshot.records(io.BytesIO(bytes(changed)))) == []
    [(_, held), *_] = snapshot.records(io.BytesIO(data))
    assert np.array_equal(held["a"], arrays["a"])


def test_an_index_made_otherwise_is_refused_by_the_names_of_what_differs() -> None:
    ours = snapshot.header_of(Dedup(ngram=3), ("prompt",), ())
    theirs = snapshot.header_of(Dedup(ngram=5, seed=2), ("prompt",), ())
    with pytest.raises(JobError, match=r"ngram: 5 there, 3 here; seed: 2 there, 1 here"):
        snapshot.refuse_mismatch(theirs, ours, where="s3://elsewhere")


@pytest.fixture(scope="module")
def private_ray() -> Iterator[None]:
    import ray

    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, object_store_memory=100_000_000)
    yield
    ray.shutdown()


@pytest.mark.ray
def test_on_ray_the_same_rows_are_kept_even_when_actors_are_killed_or_stand_still(
    batch: Any, whole: Any, private_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import ray

    from synth_ray.cluster import index as index_module
    from synth_ray.cluster.index import RayShards

    monkeypatch.setattr(index_module, "_TOLD_EVERY_S", 1.0)
    monkeypatch.setattr(index_module, "_SILENT_S", 8.0)
    monkeypatch.setattr(index_module, "_PATIENCE_S", 0.5)
    on_a_lost_node = [{"label_selector": {"ray.io/node-id": "f" * 56}}] * 4  # where all three wait, until Ray counts it as gone
    host = RayShards(3, folder=str(tmp_path), options=lambda: on_a_lost_node.pop() if on_a_lost_node else {})
    index = Index(SECTION, stores=ShardedStores(host, save_bytes=1 << 17).stores)
    semantic, vectors = SemanticIndex(0.93, store=index.stores.vectors, exact_rows=256), near_vectors(3, len(batch))
    codes: list[int] = []
    near: list[tuple[int, float]] = []
    for at in range(0, len(batch), 320):
        if at in (320, 1920):
            ray.kill(host.actors[at % 3])
            assert index.nbytes > 0
        if at == 960:
            os.kill(actors("ShardActor")[0], signal.SIGSTOP)
        codes += decide(index, batch.slice(at, min(len(batch), at + 320)))[0]
        keep_next(semantic, vectors, min(len(batch), at + 320), near)
    assert codes == whole[0]
    assert near == kept_rows(SemanticIndex(0.93, exact_rows=256), vectors, [])
    assert re.search(r"index shard \d has not answered for \d+ s: it is taken for lost", caplog.text)
    assert any(tmp_path.rglob("*"))
    host.close()
    assert not any(file.is_file() for file in tmp_path.rglob("*"))
