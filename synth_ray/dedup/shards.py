"""The table of an index in several places: which key lies where, and what a lost shard is made of again.

A shard is told by bits of the key, through virtual shards, so that any number of shards holds the same entries. Each call
is numbered: a shard that has seen a number adds nothing again and only answers, so a lost reply may be asked for again.
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
_SAVE_EVERY = 256
_HEAD = 3
_LIVES = 5


class Shard:
    """One part of the table, and the number of the last call whose pairs it holds."""

    def __init__(self, *, cap: int) -> None:
        self._cap = cap
        self.table = Table()
        self.last = -1

    def step(self, message: Array) -> Array:
        """Add a message's pairs, unless that was done before, and answer what is under the keys it asks for.

        Raises ValueError when a call in between never came.
        """
        number, keys, ids, asked = unpacked(message)
        if number > self.last + 1 or number < self.last:
            raise ValueError(f"an index shard: wanted call {self.last} or {self.last + 1}, got {number}; calls were lost")
        if number == self.last + 1:
            self.table.insert(keys, ids, cap=self._cap)
            self.last = number
        at, found = self.table.lookup(asked)
        return np.concatenate((at, found))

    def saved(self) -> bytes:
        sink = io.BytesIO()
        snapshot.write(sink, {"last": self.last}, self.table.entries())
        return sink.getvalue()

    def restore(self, data: bytes) -> int:
        """Raises ValueError for bytes that `saved` did not make."""
        record = snapshot.read(io.BytesIO(data))
        if record is None:
            raise ValueError(f"an index shard: wanted a whole snapshot, got {len(data)} bytes that are none")
        header, held = record
        self.table = Table(expected=int(np.count_nonzero(held["his"])))
        keys = held["his"].astype(U64) << U64(32) | held["los"].astype(U64) << U64(16)
        self.table.insert(keys, held["values"], cap=self._cap)
        self.last = int(header["last"])
        return self.last


def packed(number: int, keys: Array, ids: Array, asked: Array) -> Array:
    """One call as one array: a message of one buffer costs a third of one of four."""
    head = np.array([number, len(keys), len(asked)], U64)
    return np.concatenate([part.view(U8) for part in (head, keys, asked, ids)])


def unpacked(message: Array) -> tuple[int, Array, Array, Array]:
    number, n, m = message[: 8 * _HEAD].view(U64).tolist()
    ends = np.cumsum([8 * _HEAD, 8 * n, 8 * m, 4 * n])
    keys, asked = message[ends[0] : ends[1]].view(U64), message[ends[1] : ends[2]].view(U64)
    return number, keys, message[ends[2] : ends[3]].view(U32), asked


class Host(Protocol):
    """Where shards live."""

    shards: int

    def step(self, messages: dict[int, Array]) -> dict[int, Array | None]:
        """The reply of each shard; None of one that is gone."""
        ...

    def save(self, shard: int) -> int | None:
        """Keep a snapshot where a restart finds it; returns its last call, None of a shard that is gone."""
        ...

    def restart(self, shard: int) -> int | None:
        """Start the shard again from its snapshot; returns the last call it holds, -1 from nothing, None if it died again."""
        ...

    def entries(self, shard: int) -> dict[str, Array] | None:
        """Everything it holds; None of a shard that is gone."""
        ...

    def nbytes(self) -> int: ...


class Sharded:
    """See `index.Shards`. The pairs added since a shard's snapshot are its log, kept here until the next snapshot."""

    def __init__(self, host: Host, *, save_every: int = _SAVE_EVERY) -> None:
        self._host = host
        self._save_every = save_every
        self._next = 0
        self._logs: list[list[tuple[int, Array, Array]]] = [[] for _ in range(host.shards)]

    @property
    def nbytes(self) -> int:
        return self._host.nbytes()

    def exchange(self, keys: Array, ids: Array, asked: Array) -> tuple[Array, Array]:
        ends, added, place = self._routed(keys)
        ask_ends, ask, ask_place = self._routed(asked)
        ids = ids[place]
        messages = {}
        for shard in range(self._host.shards):
            a, b = ends[shard], ends[shard + 1]
            self._logs[shard].append((self._next, added[a:b], ids[a:b]))
            messages[shard] = packed(self._next, added[a:b], ids[a:b], ask[ask_ends[shard] : ask_ends[shard + 1]])
        replies = self._answered(messages)
        self._next += 1
        if self._next % self._save_every == 0:
            self._save()
        halves = [np.split(replies[shard], 2) for shard in range(self._host.shards)]
        at = np.concatenate([ask_place[ask_ends[s] + half[0]] for s, half in enumerate(halves)])
        order = np.argsort(at, kind="stable")
        return at[order], np.concatenate([half[1] for half in halves])[order]

    def _routed(self, keys: Array) -> tuple[Array, Array, Array]:
        ends = np.empty(self._host.shards + 1, np.int64)
        out, at = np.empty(len(keys), U64), np.empty(len(keys), U32)
        table_kernels.route(keys, VIRTUAL, self._host.shards, ends, out, at)
        return ends, out[: ends[-1]], at[: ends[-1]]

    def _answered(self, messages: dict[int, Array]) -> dict[int, Array]:
        done: dict[int, Array] = {}
        lives = dict.fromkeys(messages, _LIVES)
        while len(done) < len(messages):
            waiting = {s: m for s, m in messages.items() if s not in done}
            for shard, reply in self._host.step(waiting).items():
                if reply is None:
                    self._revive(shard, lives)
                else:
                    done[shard] = reply
        return done

    def _revive(self, shard: int, lives: dict[int, int]) -> None:
        """Raises SynthRayError when a shard dies again and again: whatever kills it would kill the next one."""
        lives[shard] -= 1
        if lives[shard] < 0:
            raise SynthRayError(
                f"index shard {shard}: wanted it to answer, got {_LIVES} deaths in one call; give its node memory, "
                "or use more shards"
            )
        last = self._host.restart(shard)
        if last is None:
            return self._revive(shard, lives)
        for number, keys, ids in self._logs[shard]:
            message = packed(number, keys, ids, np.zeros(0, U64))
            if last < number < self._next and self._host.step({shard: message})[shard] is None:
                return self._revive(shard, lives)

    def _save(self) -> None:
        for shard in range(self._host.shards):
            last = self._host.save(shard)
            if last is not None:
                self._logs[shard] = [entry for entry in self._logs[shard] if entry[0] > last]

    def entries(self) -> dict[str, Array]:
        parts = [self._entries_of(shard) for shard in range(self._host.shards)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _entries_of(self, shard: int) -> dict[str, Array]:
        lives = {shard: _LIVES}
        while (found := self._host.entries(shard)) is None:
            self._revive(shard, lives)
        return found
