"""The memory of admission in several places: which shard holds what, and how a lost shard is restored.

The shard of a key is chosen by bits of the key, through virtual shards, and that of a row by its number, so that any number of
shards holds the same. Of what shards hold, nothing stays here but what was added since they last saved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Protocol

import numpy as np

from synth_ray.dedup import table_kernels
from synth_ray.dedup.hashing import U8, U32, U64, Array
from synth_ray.dedup.sharded_vectors import ShardedLabels, ShardedVectors
from synth_ray.dedup.shards import pack, pack_additions, unpack
from synth_ray.dedup.stores import Compared, StoredRows, Stores
from synth_ray.errors import SynthRayError

VIRTUAL = 4096
_SAVE_BYTES = 64 << 20
_MAX_RESTARTS = 5
_STORES = tuple(field.name for field in fields(Stores))


class ShardHost(Protocol):
    """Where shards run."""

    shards: int

    def apply_calls(self, messages: dict[int, Array]) -> dict[int, Array | None]:
        """The reply of each shard; None for one that is gone."""
        ...

    def save(self) -> dict[int, int | None]:
        """Store what each shard has added where a restart will find it; returns the last call in that, None for one
        that is gone.
        """
        ...

    def restart(self, shard: int) -> int | None:
        """Restart the shard from what it saved; returns the last call in that, -1 without one, None if it died again."""
        ...


class ShardedStores:
    """`stores` are in the shards of a host. Additions wait for the next question, and travel with it; past `save_bytes` of them,
    the shards are told to save, and what is kept here for a shard that may be lost begins anew.
    """

    def __init__(self, host: ShardHost, *, save_bytes: int = _SAVE_BYTES) -> None:
        self._host, self._save_bytes = host, save_bytes
        self._last = [-1] * host.shards
        self._waiting: list[list[tuple[str, int, Sequence[Array]]]] = [[] for _ in range(host.shards)]
        self._waiting_bytes = 0
        self._logs: list[list[tuple[int, Array]]] = [[] for _ in range(host.shards)]
        self._nbytes = [dict.fromkeys(_STORES, 0) for _ in range(host.shards)]
        keys, train, evaluation = (ShardedTable(self, name) for name in ("keys", "train", "evaluation"))
        self.stores = Stores(keys, ShardedRows(self), train, evaluation, ShardedVectors(self), ShardedLabels(self))

    @property
    def shards(self) -> int:
        return self._host.shards

    def nbytes_of(self, store: str) -> int:
        """As told with the last replies: asking costs nothing, and a shard that is being restarted counts as before."""
        return sum(held[store] for held in self._nbytes)

    def add(self, shard: int, store: str, cap: int, arrays: Sequence[Array]) -> None:
        self._waiting[shard].append((store, cap, arrays))
        self._waiting_bytes += sum(a.nbytes for a in arrays)

    def send_if_many(self) -> None:
        """Call after a round of `add`: additions that nothing is asked after must not pile up."""
        if self._waiting_bytes > self._save_bytes:
            self.ask("", "", {})

    def ask(self, store: str, question: str, about: Mapping[int, Sequence[Array]]) -> dict[int, list[Array]]:
        """The answers of the shards that are asked; whatever waits for any shard is added first."""
        asked = [shard for shard in range(self.shards) if shard in about or self._waiting[shard]]
        added = {shard: pack_additions(self._waiting[shard]) if self._waiting[shard] else _NOTHING for shard in asked}
        messages = {}
        for shard in asked:
            head = [self._last[shard] + bool(len(added[shard])), store, question if shard in about else ""]
            messages[shard] = pack(head, [added[shard], *about.get(shard, ())])
        replies = self._call_until_answered(messages)
        for shard in asked:
            if len(added[shard]):
                self._last[shard] += 1
                self._logs[shard].append((self._last[shard], added[shard]))
                self._waiting[shard] = []
        self._waiting_bytes = 0
        answers = {}
        for shard, reply in replies.items():
            sizes, answers[shard] = unpack(reply)
            self._nbytes[shard] = dict(zip(_STORES, sizes, strict=True))
        self._save_if_many()
        return {shard: answers[shard] for shard in about}

    def _save_if_many(self) -> None:
        if sum(len(added) for log in self._logs for _, added in log) < self._save_bytes:
            return
        for shard, last in self._host.save().items():
            if last is not None:
                self._logs[shard] = [entry for entry in self._logs[shard] if entry[0] > last]

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
        for number, added in self._logs[shard]:
            message = pack([number, "", ""], [added])
            if number > last and self._host.apply_calls({shard: message})[shard] is None:
                return self._restart_and_replay(shard, lives)


_NOTHING = np.zeros(0, U8)


class ShardedTable:
    """See `stores.KeyTable`."""

    def __init__(self, owner: ShardedStores, name: str) -> None:
        self._owner, self._name = owner, name

    @property
    def nbytes(self) -> int:
        return self._owner.nbytes_of(self._name)

    def insert(self, keys: Array, ids: Array, *, cap: int) -> None:
        ends, keys, place = self._by_shard(keys)
        ids = ids[place]
        for shard in range(self._owner.shards):
            part = slice(ends[shard], ends[shard + 1])
            if len(keys[part]):
                self._owner.add(shard, self._name, cap, (keys[part], ids[part]))
        self._owner.send_if_many()

    def lookup(self, keys: Array) -> tuple[Array, Array]:
        ends, keys, place = self._by_shard(keys)
        about = {s: [keys[ends[s] : ends[s + 1]]] for s in range(self._owner.shards) if ends[s] < ends[s + 1]}
        answers = self._owner.ask(self._name, "lookup", about)
        at = _joined((place[ends[shard] + at] for shard, (at, _) in answers.items()), U32)
        order = np.argsort(at, kind="stable")
        return at[order], _joined((ids for _, ids in answers.values()), U32)[order]

    def _by_shard(self, keys: Array) -> tuple[Array, Array, Array]:
        ends = np.empty(self._owner.shards + 1, np.int64)
        out, at = np.empty(len(keys), U64), np.empty(len(keys), U32)
        table_kernels.partition_by_shard(keys, VIRTUAL, self._owner.shards, ends, out, at)
        return ends, out[: ends[-1]], at[: ends[-1]]

    def pairs(self, part: int, parts: int) -> tuple[Array, Array]:
        about = {shard: [np.array([part, parts], np.int64)] for shard in range(self._owner.shards)}
        answers = self._owner.ask(self._name, "pairs", about).values()
        return _joined((keys for keys, _ in answers), U64), _joined((ids for _, ids in answers), U32)


class ShardedRows:
    """See `stores.RowStore`. Row n is row n // shards of shard n % shards."""

    def __init__(self, owner: ShardedStores) -> None:
        self._owner, self._length = owner, 0

    def __len__(self) -> int:
        return self._length

    @property
    def nbytes(self) -> int:
        return self._owner.nbytes_of("rows")

    def append(self, rows: StoredRows) -> None:
        sizes = np.diff(rows.ends)
        of_row = np.arange(self._length, self._length + len(sizes)) % self._owner.shards
        for shard in np.unique(of_row).tolist():
            mine = of_row == shard
            shingles = rows.shingles[np.repeat(mine, sizes)]
            part = StoredRows(rows.ids[mine], rows.splits[mine], rows.digests[mine], shingles, _ends(sizes[mine]))
            self._owner.add(shard, "rows", 0, part)
        self._length += len(sizes)
        self._owner.send_if_many()

    def fetch(self, numbers: Array) -> Compared:
        parts = self._ask("fetch", numbers)
        digests, sizes = np.zeros((len(numbers), 2), U64), np.zeros(len(numbers), np.int64)
        for mine, (own_digests, _, own_ends) in parts:
            digests[mine], sizes[mine] = own_digests, np.diff(own_ends)
        ends = _ends(sizes)
        shingles = np.zeros(int(ends[-1]), U32)
        for mine, (_, own, own_ends) in parts:
            shingles[np.repeat(ends[:-1][mine] - own_ends[:-1], sizes[mine]) + np.arange(len(own))] = own
        return Compared(digests, shingles, ends)

    def ids_of(self, numbers: Array) -> Array:
        return self._gathered("ids_of", numbers, np.zeros((len(numbers), 16), U8))

    def splits_of(self, numbers: Array) -> Array:
        return self._gathered("splits_of", numbers, np.zeros(len(numbers), U8))

    def _gathered(self, question: str, numbers: Array, out: Array) -> Array:
        for mine, (own,) in self._ask(question, numbers):
            out[mine] = own
        return out

    def _ask(self, question: str, numbers: Array) -> list[tuple[Array, list[Array]]]:
        """(positions in `numbers`, answer) of each shard that has any of the rows."""
        of_number = numbers % self._owner.shards
        mine = {shard: np.flatnonzero(of_number == shard) for shard in np.unique(of_number).tolist()}
        about = {shard: [numbers[places] // self._owner.shards] for shard, places in mine.items()}
        return [(mine[shard], answer) for shard, answer in self._owner.ask("rows", question, about).items()]

    def numbers_of(self, ids: Array) -> tuple[Array, Array]:
        shards = self._owner.shards
        answers = self._owner.ask("rows", "numbers_of", {shard: [ids] for shard in range(shards)}) if len(ids) else {}
        at = _joined((own for own, _ in answers.values()), np.int64)
        numbers = _joined((own * shards + shard for shard, (_, own) in answers.items()), np.int64)
        order = np.lexsort((numbers, at))
        _, first = np.unique(at[order], return_index=True)
        return at[order][first], numbers[order][first]


def _ends(sizes: Array) -> Array:
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))


def _joined(parts: Iterable[Array], kind: type) -> Array:
    return np.concatenate([np.zeros(0, kind), *parts])
