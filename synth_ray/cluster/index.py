"""Index shards as actors, one per node if possible. Shards add memory, not speed: one core serves a million rows a second."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError

from synth_ray.cluster.nodes import Nodes
from synth_ray.cluster.versions import Origin, origin_here
from synth_ray.cluster.wants import CPUS_OF_A_SHARD
from synth_ray.dedup.hashing import Array
from synth_ray.dedup.shards import Shard

log = logging.getLogger(__name__)

_PATIENCE_S = 10.0
"""How often a shard that waits for a place is told of."""
_TOLD_EVERY_S, _SILENT_S = 60.0, 1800.0
"""How often a shard that does not answer is told of, and when it is taken for lost: a large one saves and loads for minutes."""


class ShardActor:
    """One shard. What it added since it last saved becomes one more file of its folder, which appears whole or not at all."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._shard = Shard()

    def open(self) -> Origin:
        return origin_here()

    def apply_call(self, message: Array) -> Array:
        return self._shard.apply_call(message)

    def save(self) -> int:
        """The number of the last call that is saved. The file of the last one is never written again."""
        if not self._shard.has_unsaved:
            return self._shard.last
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._folder / f"{self._shard.last + 1:012d}"
        new_file = file.with_suffix(".new")
        with new_file.open("wb") as sink:
            self._shard.save(sink)
        new_file.replace(file)
        self._shard.forget_saved()
        return self._shard.last

    def restore(self) -> int:
        for file in sorted(self._folder.glob("*[0-9]")):
            with file.open("rb") as source:
                self._shard.restore(source)
        return self._shard.last


class RayShards:
    """See `dedup.sharded.ShardHost`. `folder` must be visible to every node that may run a shard; a folder of this run's own is
    made in it, and removed at the end. `options` are Ray's for a new shard.

    A shard on a draining node is asked until its successor elsewhere is up, and moves there with a fresh snapshot. Where there
    is no place it stays, and is made again once its node is gone.
    """

    def __init__(
        self,
        shards: int,
        *,
        folder: str,
        nodes: Nodes | None = None,
        options: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self.shards, self._options = shards, options
        self._folder, self._nodes = f"{folder}/shards-{uuid4().hex}", nodes or Nodes(time.monotonic)
        self._opening: dict[int, Any] = {}
        self._successors: dict[int, tuple[Any, Any]] = {}  # the actor, and the reply that says that it is up
        self._node_of: dict[int, str] = {}
        self._placed_by: dict[int, Mapping[str, Any]] = {}
        self.actors: list[Any] = []
        for shard in range(shards):
            actor, self._opening[shard] = self._start(shard)
            self.actors.append(actor)

    def _start(self, shard: int) -> tuple[Any, Any]:
        self._placed_by[shard] = options = self._options()
        spread = {"scheduling_strategy": "SPREAD", "max_restarts": 0}
        remote = ray.remote(num_cpus=CPUS_OF_A_SHARD)(ShardActor).options(**spread, **options)
        actor = remote.remote(f"{self._folder}/{shard:04d}")
        return actor, actor.open.remote()

    def _await_places(self) -> None:
        """Wait until each new shard is up, or gone. Raises SynthRayError where the head is, or a node runs other versions."""
        for shard in list(self._opening):
            while not ray.wait([self._opening[shard]], timeout=_PATIENCE_S)[0]:
                self._nodes.draining()
                log.warning("index shard %d waits for a node with %.2f of a CPU to spare", shard, CPUS_OF_A_SHARD)
                if self._options() != self._placed_by[shard]:  # the nodes that were to hold it are gone
                    ray.kill(self.actors[shard])
                    self.actors[shard], self._opening[shard] = self._start(shard)
            self._note_place(shard, _result_or_none(self._opening.pop(shard), shard))

    def _note_place(self, shard: int, origin: Origin | None) -> None:
        self._node_of.pop(shard, None)
        if origin is not None:
            self._node_of[shard] = self._nodes.node_of(origin)

    def apply_calls(self, messages: dict[int, Array]) -> dict[int, Array | None]:
        self._await_places()
        self._leave_draining_nodes()
        pending = {shard: self.actors[shard].apply_call.remote(message) for shard, message in messages.items()}
        return {shard: _result_or_none(ref, shard) for shard, ref in pending.items()}

    def _leave_draining_nodes(self) -> None:
        draining = self._nodes.draining()
        for shard, node in self._node_of.items():
            if node in draining and shard not in self._successors:
                log.warning("index shard %d: its node is being taken away; another starts elsewhere", shard)
                self._successors[shard] = self._start(shard)
        for shard, (_, opening) in list(self._successors.items()):
            if ray.wait([opening], timeout=0)[0]:
                self._move(shard)

    def _move(self, shard: int) -> None:
        """To its successor, which is up or gone. It is tried once."""
        successor, opening = self._successors.pop(shard)
        origin: Origin | None = _result_or_none(opening, shard)
        is_whole = origin is not None and self._hand_over(shard, successor)
        self._note_place(shard, origin if is_whole else None)
        ray.kill(self.actors[shard] if is_whole else successor)
        if is_whole:
            self.actors[shard] = successor
        log.warning("index shard %d %s", shard, "moved" if is_whole else "stays: no other could take what it holds")

    def _hand_over(self, shard: int, successor: Any) -> bool:
        """Through a snapshot. A successor that does not see the file begins empty, and must not replace what is whole."""
        saved = _result_or_none(self.actors[shard].save.remote(), shard)
        return saved is not None and _result_or_none(successor.restore.remote(), shard) == saved

    def save(self) -> dict[int, int | None]:
        pending = [actor.save.remote() for actor in self.actors]
        return {shard: _result_or_none(ref, shard) for shard, ref in enumerate(pending)}

    def restart(self, shard: int) -> int | None:
        ray.kill(self.actors[shard])  # it may be alive but unreachable
        is_leaving = shard in self._successors
        self.actors[shard], self._opening[shard] = self._successors.pop(shard) if is_leaving else self._start(shard)
        self._await_places()
        last: int | None = _result_or_none(self.actors[shard].restore.remote(), shard)
        return last

    def close(self) -> None:
        for actor in (*self.actors, *(successor for successor, _ in self._successors.values())):
            ray.kill(actor)
        shutil.rmtree(self._folder, ignore_errors=True)  # an actor that is just ended may still write there


def _result_or_none(ref: Any, shard: int) -> Any:
    """The result; None where the shard, or the node that held its reply, is gone, or where it lives and does not answer. An error
    that the shard raised is raised.
    """
    began = time.monotonic()
    while (silent_s := time.monotonic() - began) < _SILENT_S:
        try:
            return ray.get(ref, timeout=_TOLD_EVERY_S)
        except GetTimeoutError:
            log.warning("index shard %d has not answered for %.0f s", shard, time.monotonic() - began)
        except RayTaskError:
            raise
        except RayError:
            return None
    log.error("index shard %d has not answered for %.0f s: it is taken for lost", shard, silent_s)
    return None
