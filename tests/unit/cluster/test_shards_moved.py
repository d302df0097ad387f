"""A shard is replaced only by one that holds what it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synth_ray.cluster import index
from synth_ray.cluster.index import RayShards, ShardActor
from synth_ray.dedup.shards import pack, pack_additions


class Called:
    """Methods of an object in this process, called as those of an actor."""

    def __init__(self, held: Any) -> None:
        self.held = held

    def __getattr__(self, name: str) -> Any:
        called = type("Method", (), {})()
        called.remote = getattr(self.held, name)
        return called


@pytest.mark.parametrize(("sees_the_file", "calls"), [(True, 7), (False, 7), (False, 0)])
def test_a_successor_that_found_no_snapshot_replaces_no_shard_with_rows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sees_the_file: bool, calls: int
) -> None:
    monkeypatch.setattr(index, "_result_or_none", lambda result, _: result)
    old, new = ShardActor(f"{tmp_path}/shard"), ShardActor(f"{tmp_path if sees_the_file else tmp_path / 'other'}/shard")
    for call in range(calls):
        old.apply_call(pack([call, "", ""], [pack_additions([])]))
    shards = RayShards(0, folder=str(tmp_path), nodes=object())  # type: ignore[arg-type]
    shards.actors = [Called(old)]
    assert shards._hand_over(0, Called(new)) is (sees_the_file or calls == 0)


def test_a_shard_that_saves_again_with_nothing_new_keeps_what_it_saved(tmp_path: Path) -> None:
    shard = ShardActor(str(tmp_path))
    for call in range(3):
        shard.apply_call(pack([call, "", ""], [pack_additions([])]))
    before = shard.save(), [(file.name, file.stat().st_size) for file in tmp_path.iterdir()]
    shard.apply_call(pack([2, "rows", "ids_of"], [np.zeros(0, np.uint8), np.zeros(0, np.int64)]))  # it only asks
    assert (shard.save(), [(file.name, file.stat().st_size) for file in tmp_path.iterdir()]) == before
    assert ShardActor(str(tmp_path)).restore() == before[0] == 2
