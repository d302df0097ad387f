"""Index shards as actors, one per node if possible. Shards add memory, not speed: one core serves a million rows a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from synth_ray.dedup.hashing import Array
from synth_ray.dedup.shards import Shard


class ShardActor:
    """One shard. Its snapshot is a file that is replaced atomically."""

    def __init__(self, path: str, cap: int) -> None:
        self._path = Path(path)
        self._shard = Shard(cap=cap)

    def apply_call(self, message: Array) -> Array:
        return self._shard.apply_call(message)

    def save(self) -> int:
        new_file = self._path.with_suffix(".new")
        new_file.write_bytes(self._shard.to_bytes())
        new_file.replace(self._path)
        return self._shard.last

    def restore(self) -> int:
        return self._shard.restore(self._path.read_bytes()) if self._path.exists() else -1

    def entries(self) -> dict[str, Array]:
        return self._shard.table.entries()

    def nbytes(self) -> int:
        return self._shard.table.nbytes


class RayShards:
    """See `dedup.shards.ShardHost`. `folder` must be visible to every node that may run a shard."""

    def __init__(self, shards: int, *, folder: str, cap: int) -> None:
        self.shards = shards
        self._folder, self._cap = folder, cap
        self.actors = [self._start(shard) for shard in range(shards)]

    def _start(self, shard: int) -> Any:
        remote = ray.remote(num_cpus=0)(ShardActor).options(scheduling_strategy="SPREAD", max_restarts=0)
        return remote.remote(f"{self._folder}/shard-{shard:04d}", self._cap)

    def apply_calls(self, messages: dict[int, Array]) -> dict[int, Array | None]:
        pending = {shard: self.actors[shard].apply_call.remote(message) for shard, message in messages.items()}
        return {shard: _result_or_none(ref) for shard, ref in pending.items()}

    def save(self, shard: int) -> int | None:
        last: int | None = _result_or_none(self.actors[shard].save.remote())
        return last

    def restart(self, shard: int) -> int | None:
        ray.kill(self.actors[shard])  # it may be alive but unreachable
        self.actors[shard] = self._start(shard)
        last: int | None = _result_or_none(self.actors[shard].restore.remote())
        return last

    def entries(self, shard: int) -> dict[str, Array] | None:
        entries: dict[str, Array] | None = _result_or_none(self.actors[shard].entries.remote())
        return entries

    def nbytes(self) -> int:
        return sum(ray.get([actor.nbytes.remote() for actor in self.actors]))

    def close(self) -> None:
        for actor in self.actors:
            ray.kill(actor)


def _result_or_none(ref: Any) -> Any:
    """The result; None where the shard, or the node that held its reply, is gone. An error that the shard raised is raised."""
    try:
        return ray.get(ref)
    except RayTaskError:
        raise
    except RayError:
        return None
