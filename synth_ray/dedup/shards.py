"""An index's table in several places: which shard holds a key, and how a lost shard is restored.

A shard is chosen by bits of the key, through virtual shards, so that any number of shards holds the same entries. Calls are
numbered: a shard that gets the same number again adds nothing and only answers, so a call whose reply was lost can be repeated.
"""

from __future__ import annotations

import io
from typing import Protocol

import numpy as np

from synth_ray.dedup import snapshot, table_kernels
from synth_ray.dedup.hashing import U8, U32, U64, Array
from synth_ray.dedup.table import Table
from synth_ray.errors import SynthRayError

VIRTUAL = 4096
_SNAPSHOT_CALLS = 256
_HEADER_WORDS = 3
_MAX_RESTARTS = 5


class Shard:
    """One part of the table, and the number of the last call that was applied to it."""

    def __init__(self, *, cap: int) -> None:
        self._cap = cap
        self.table = Table()
        self.last = -1

    def apply_call(self, message: Array) -> Array:
        """Add a call's pairs, unless that was done before, and answer its queries.

        Raises ValueError when a call in between is missing.
        """
        number, keys, ids, queries = unpack_call(message)
        if number > self.last + 1 or number < self.last:
            raise ValueError(f"an index shard: wanted call {self.last} or {self.last + 1}, got {number}; calls were lost")
        if number == self.last + 1:
            self.table.insert(keys, ids, cap=self._cap)
            self.last = number
        at, answers = self.table.lookup(queries)
        return np.concatenate((at, answers))

    def to_bytes(self) -> bytes:
        sink = io.BytesIO()
        snapshot.write(sink, {"last": self.last}, self.table.entries())
        return sink.getvalue()

    def restore(self, data: bytes) -> int:
        """Raises ValueError for bytes that `to_bytes` did not make."""
        record = snapshot.read(io.BytesIO(data))
        if record is None:
            raise ValueError(f"an index shard: wanted a whole snapshot, got {len(data)} bytes that are none")
        header, arrays = record
        self.table = Table(expected=int(np.count_nonzero(arrays["his"])))
        keys = arrays["his"].astype(U64) << U64(32) | arrays["los"].astype(U64) << U64(16)
        self.table.insert(keys, arrays["values"], cap=self._cap)
        self.last = int(header["last"])
        return self.last


def pack_call(number: int, keys: Array, ids: Array, queries: Array) -> Array:
    """One call as one array: a message of one buffer costs a third of one of four."""
    head = np.array([number, len(keys), len(queries)], U64)
    return np.concatenate([part.view(U8) for part in (head, keys, queries, ids)])


def unpack_call(message: Array) -> tuple[int, Array, Array, Array]:
    number, n, m = message[: 8 * _HEADER_WORDS].view(U64).tolist()
    ends = np.cumsum([8 * _HEADER_WORDS, 8 * n, 8 * m, 4 * n])
    keys, queries = message[ends[0] : ends[1]].view(U64), message[ends[1] : ends[2]].view(U64)
    return number, keys, message[ends[2] : ends[3]].view(U32), queries


class ShardHost(Protocol):
    """Where shards run."""

    shards: int

    def apply_calls(self, messages: dict[int, Array]) -> dict[int, Array | None]:
        """The reply of each shard; None for one that is gone."""
        ...

    def save(self, shard: int) -> int | None:
        """Store a snapshot that a restart will find; returns the last call in it, None for a shard that is gone."""
        ...

    def restart(self, shard: int) -> int | None:
        """Restart the shard from its snapshot; returns the last call in it, -1 without one, None if it died again."""
        ...

    def entries(self, shard: int) -> dict[str, Array] | None:
        """Everything the shard holds; None for one that is gone."""
        ...

    def nbytes(self) -> int: ...


class ShardedTable:
    """See `index.Shards`. The pairs added since a shard's snapshot are kept here as its log, until the next snapshot."""

    def __init__(self, host: ShardHost, *, save_every: int = _SNAPSHOT_CALLS) -> None:
        self._host = host
        self._save_every = save_every
        self._next = 0
        self._logs: list[list[tuple[int, Array, Array]]] = [[] for _ in range(host.shards)]

    @property
    def nbytes(self) -> int:
        return self._host.nbytes()

    def exchange(self, keys: Array, ids: Array, queries: Array) -> tuple[Array, Array]:
        ends, added, place = self._by_shard(keys)
        ask_ends, ask, ask_place = self._by_shard(queries)
        ids = ids[place]
        messages = {}
        for shard in range(self._host.shards):
            a, b = ends[shard], ends[shard + 1]
            self._logs[shard].append((self._next, added[a:b], ids[a:b]))
            messages[shard] = pack_call(self._next, added[a:b], ids[a:b], ask[ask_ends[shard] : ask_ends[shard + 1]])
        replies = self._call_until_answered(messages)
        self._next += 1
        if self._next % self._save_every == 0:
            self._save()
        halves = [np.split(replies[shard], 2) for shard in range(self._host.shards)]
        at = np.concatenate([ask_place[ask_ends[s] + half[0]] for s, half in enumerate(halves)])
        order = np.argsort(at, kind="stable")
        return at[order], np.concatenate([half[1] for half in halves])[order]

    def _by_shard(self, keys: Array) -> tuple[Array, Array, Array]:
        ends = np.empty(self._host.shards + 1, np.int64)
        out, at = np.empty(len(keys), U64), np.empty(len(keys), U32)
        table_kernels.partition_by_shard(keys, VIRTUAL, self._host.shards, ends, out, at)
        return ends, out[: ends[-1]], at[: ends[-1]]

    def _call_until_answered(self, messages: dict[int, Array]) -> dict[int, Array]:
        done: dict[int, Array] = {}
        lives = dict.fromkeys(messages, _MAX_RESTARTS)
        while len(done) < len(messages):
            waiting = {s: m for s, m in messages.items() if s not in done}
            for shard, reply in self._host.apply_calls(waiting).items():
                if reply is None:
                    self._restart_and_replay(shard, lives)
                else:
                    done[shard] = reply
        return done

    def _restart_and_replay(self, shard: int, lives: dict[int, int]) -> None:
        """Raises SynthRayError when a shard dies repeatedly: whatever kills it would kill the next one, too."""
        lives[shard] -= 1
        if lives[shard] < 0:
            raise SynthRayError(
                f"index shard {shard}: wanted it to answer, got {_MAX_RESTARTS} deaths in one call; give its node memory, "
                "or use more shards"
            )
        last = self._host.restart(shard)
        if last is None:
            return self._restart_and_replay(shard, lives)
        for number, keys, ids in self._logs[shard]:
            message = pack_call(number, keys, ids, np.zeros(0, U64))
            if last < number < self._next and self._host.apply_calls({shard: message})[shard] is None:
                return self._restart_and_replay(shard, lives)

    def _save(self) -> None:
        for shard in range(self._host.shards):
            last = self._host.save(shard)
            if last is not None:
                self._logs[shard] = [entry for entry in self._logs[shard] if entry[0] > last]

    def entries(self) -> dict[str, Array]:
        parts = [self._entries_of(shard) for shard in range(self._host.shards)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _entries_of(self, shard: int) -> dict[str, Array]:
        lives = {shard: _MAX_RESTARTS}
        while (entries := self._host.entries(shard)) is None:
            self._restart_and_replay(shard, lives)
        return entries
