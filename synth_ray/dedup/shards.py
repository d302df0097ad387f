"""One of several places that together hold the memory of admission: what it adds, answers, saves and restores.

Calls that add are numbered. A shard that gets the same number again adds nothing and only answers, so a call whose reply was lost
can be repeated. What was added since the last save is written as one record, so that saving costs what is new.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from synth_ray.dedup import snapshot
from synth_ray.dedup.cells import Centroids
from synth_ray.dedup.hashing import U8, U64, Array
from synth_ray.dedup.stores import StoredRows, Stores
from synth_ray.dedup.vectors import MemoryVectors

_WORD = 8
_SETTLED_AT_ONCE = 1 << 16
CELLS = "cells"
"""Instead of a store: the vectors' cells are set anew."""


def pack(head: Any, arrays: Sequence[Array]) -> Array:
    """One array of bytes: a message of one buffer costs a third of one of four. `head` is whatever JSON holds."""
    line = json.dumps([head, [[a.dtype.str, list(a.shape)] for a in arrays]]).encode()
    parts = [np.array([len(line)], U64).view(U8), *_padded(np.frombuffer(line, U8))]
    for array in arrays:
        parts += _padded(np.ascontiguousarray(array).reshape(-1).view(U8))
    return np.concatenate(parts)


def _padded(data: Array) -> list[Array]:
    return [data, np.zeros(-len(data) % _WORD, U8)]


def unpack(message: Array) -> tuple[Any, list[Array]]:
    """The head and views of the arrays."""
    size = int(message[:_WORD].view(U64)[0])
    head, shapes = json.loads(message[_WORD : _WORD + size].tobytes())
    arrays, at = [], _WORD + size + -size % _WORD
    for kind, shape in shapes:
        length = np.dtype(kind).itemsize * int(np.prod(shape, dtype=np.int64))
        arrays.append(message[at : at + length].view(kind).reshape(shape))
        at += length + -length % _WORD
    return head, arrays


def pack_additions(additions: Sequence[tuple[str, int, Sequence[Array]]]) -> Array:
    """(store, cap, arrays) of each: (keys, ids) of a table, the fields of StoredRows, what `append` of vectors and labels takes,
    or centroids, under CELLS.
    """
    return pack(
        [[store, cap, len(arrays)] for store, cap, arrays in additions], [a for _, _, arrays in additions for a in arrays]
    )


class Shard:
    """Its part of each store, under numbers of its own for rows, and the number of the last call that was applied."""

    def __init__(self) -> None:
        self._vectors = MemoryVectors()
        self.stores = replace(Stores.in_memory(), vectors=self._vectors)
        self.last = -1
        self._unsaved: list[tuple[int, Array]] = []

    def apply_call(self, message: Array) -> Array:
        """Add what the call adds, unless that was done before, and answer its question.

        Raises ValueError when a call in between is missing.
        """
        (number, store, question), (added, *about) = unpack(message)
        if not self.last <= number <= self.last + bool(len(added)):
            raise ValueError(f"an index shard: wanted call {self.last} or the next, got {number}; calls were lost")
        if number > self.last:
            self._unsaved.append((number, added.copy()))
            self._add(number, added)
        return pack(self.stores.sizes(), self._answer(store, question, about))

    def _add(self, number: int, added: Array) -> None:
        additions, arrays = unpack(added)
        for store, cap, count in additions:
            self._add_to(store, cap, arrays[:count])
            arrays = arrays[count:]
        self.last = number

    def _add_to(self, store: str, cap: int, arrays: Sequence[Array]) -> None:
        if store == "rows":
            self.stores.rows.append(StoredRows(*arrays))
        elif store in ("vectors", "labels"):
            getattr(self.stores, store).append(*arrays)
        elif store == CELLS:
            self.stores.vectors.set_cells(Centroids(arrays[0].copy()))
        else:
            getattr(self.stores, store).insert(*arrays, cap=cap)

    def _answer(self, store: str, question: str, about: list[Array]) -> Sequence[Array]:
        """What a method of a store returns."""
        if not question:
            return []
        if question == "pairs":
            return self._pairs(store, about[0])
        if question == "near":
            return self._near(*about)
        answer = getattr(getattr(self.stores, store), question)(*about)
        return [answer] if isinstance(answer, np.ndarray) else list(answer)

    def _pairs(self, store: str, part: Array) -> Sequence[Array]:
        return list(getattr(self.stores, store).pairs(*part.tolist()))

    def _near(self, vectors: Array, cells: Array, threshold: Array) -> Sequence[Array]:
        """Nothing, to be asked again, while many vectors are not in their cells yet: a shard that is silent is taken for lost."""
        if self._vectors.settle(_SETTLED_AT_ONCE):
            return []
        return list(self._vectors.near(vectors, cells, float(threshold[0])))

    @property
    def has_unsaved(self) -> bool:
        return bool(self._unsaved)

    def save(self, sink: snapshot.Sink) -> None:
        """Write what was added since it was saved or restored. It is forgotten by `forget_saved`, once that is safe."""
        for number, added in self._unsaved:
            snapshot.write(sink, {"call": number}, {"added": added})

    def forget_saved(self) -> None:
        self._unsaved = []

    def restore(self, source: snapshot.Source) -> None:
        """Add the calls of what `save` wrote, from the next on. Raises ValueError for one in between that is missing."""
        for header, arrays in snapshot.records(source):
            if header["call"] > self.last + 1:
                raise ValueError(f"an index shard: wanted call {self.last + 1} in its saved file, got {header['call']}")
            if header["call"] == self.last + 1:
                self._add(header["call"], arrays["added"])
