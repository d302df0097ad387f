from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synth_ray.dedup import snapshot
from synth_ray.dedup.hashing import Array
from synth_ray.dedup.index import Index
from synth_ray.dedup.shards import Shard, ShardedTable, pack_call
from synth_ray.errors import JobError, SynthRayError
from synth_ray.job.dedup import Dedup
from tests.unit.dedup.test_index import SECTION, batch_of, decide, texts_with_repeats


class Here:
    """Shards in this process. `lose(call)` names the shards that are gone at a call; every third call is delivered twice."""

    def __init__(self, shards: int, lose: Callable[[int], list[int]] = lambda _: []) -> None:
        self.shards, self._lose, self._calls = shards, lose, 0
        self._held = [Shard(cap=SECTION.bucket_cap) for _ in range(shards)]
        self._saved: dict[int, bytes] = {}
        self._gone: set[int] = set()

    def apply_calls(self, messages: dict[int, Array]) -> dict[int, Array | None]:
        self._calls += 1
        self._gone.update(self._lose(self._calls))
        for _ in range(1 + (self._calls % 3 == 0)):
            replies = {s: None if s in self._gone else self._held[s].apply_call(m) for s, m in messages.items()}
        return replies

    def save(self, shard: int) -> int | None:
        if shard in self._gone:
            return None
        self._saved[shard] = self._held[shard].to_bytes()
        return self._held[shard].last

    def restart(self, shard: int) -> int:
        self._gone.discard(shard)
        self._held[shard] = Shard(cap=SECTION.bucket_cap)
        return self._held[shard].restore(self._saved[shard]) if shard in self._saved else -1

    def entries(self, shard: int) -> dict[str, Array]:
        return self._held[shard].table.entries()

    def nbytes(self) -> int:
        return sum(s.table.nbytes for s in self._held)


@pytest.fixture(scope="module")
def batch() -> Any:
    return batch_of(texts_with_repeats(5, 3000) + ["all template rows but for number " + str(i) for i in range(200)])


@pytest.fixture(scope="module")
def whole(batch: Any) -> Any:
    return decide(Index(SECTION), batch)


@pytest.mark.parametrize("shards", [1, 2, 3, 8])
@pytest.mark.parametrize("size", [100, 1000])
def test_any_number_of_shards_and_any_batches_keep_the_same_rows(batch: Any, whole: Any, shards: int, size: int) -> None:
    assert decide(Index(SECTION, shards=ShardedTable(Here(shards))), batch, size=size) == whole


def test_a_shard_that_is_lost_comes_back_from_its_snapshot_and_the_log(batch: Any, whole: Any) -> None:
    def lose(call: int) -> list[int]:
        return [call % 3] if call in (2, 9, 17, 18, 30) else []

    assert decide(Index(SECTION, shards=ShardedTable(Here(3, lose), save_every=5)), batch, size=120) == whole


def test_a_shard_that_dies_again_and_again_is_an_error(batch: Any) -> None:
    with pytest.raises(SynthRayError, match="index shard 0"):
        decide(Index(SECTION, shards=ShardedTable(Here(1, lambda _: [0]))), batch)


def test_a_shard_refuses_a_call_out_of_turn() -> None:
    nothing = np.zeros(0, np.uint64)
    with pytest.raises(ValueError, match="calls were lost"):
        Shard(cap=8).apply_call(pack_call(1, nothing, np.zeros(0, np.uint32), nothing))


def test_the_state_of_shards_is_that_of_one_table_and_loads_into_any_number(batch: Any, whole: Any) -> None:
    first = Index(SECTION, shards=ShardedTable(Here(3)))
    before, _ = decide(first, batch.slice(0, 1500))
    for index in (Index(SECTION), Index(SECTION, shards=ShardedTable(Here(5)))):
        index.load(first.state())
        assert before + decide(index, batch.slice(1500, len(batch)))[0] == whole[0]


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
@pytest.mark.parametrize("kill", [False, True])
def test_on_ray_the_same_rows_are_kept_even_when_an_actor_is_killed(
    batch: Any, whole: Any, private_ray: None, tmp_path: Path, kill: bool
) -> None:
    import ray

    from synth_ray.cluster.index import RayShards

    host = RayShards(3, folder=str(tmp_path), cap=SECTION.bucket_cap)
    index = Index(SECTION, shards=ShardedTable(host, save_every=4))
    codes = []
    for at in range(0, len(batch), 320):
        if kill and at in (320, 1920):
            ray.kill(host.actors[1])
        codes += decide(index, batch.slice(at, min(len(batch), at + 320)))[0]
    assert codes == whole[0]
    host.close()
