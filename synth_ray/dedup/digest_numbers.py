"""Numbers digests of 128 bits in the order in which they first come: what is seen, in 24 to 32 bytes each."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from synth_ray.dedup.hashing import U64, Array
from synth_ray.dedup.kernel_types import COMPILED, U64_ROWS
from synth_ray.dedup.table import GrowableArray

_LOAD = 0.6


class DigestNumbers:
    """Digests are N×2 uint64, and evenly spread. An open-addressing table of numbers, beside the digests themselves."""

    def __init__(self) -> None:
        self._digests = GrowableArray(U64, width=2)
        self._slots = np.full(1024, -1, np.int32)

    def __len__(self) -> int:
        return self._digests.length

    @property
    def digests(self) -> Array:
        """By number. Invalid once more are added."""
        return self._digests.view

    @property
    def nbytes(self) -> int:
        return self._digests.nbytes + self._slots.nbytes

    def add(self, digests: Array) -> Array:
        """The number of each; those that were not there get the next ones."""
        self._reserve(len(digests))
        numbers = np.empty(len(digests), np.int64)
        self._digests.length = _add(np.ascontiguousarray(digests), self._digests.array, self._slots, len(self), numbers)
        return numbers

    def add_new(self, digests: Array) -> Array:
        """Which of them were not there before, in order: the first of equal ones alone."""
        before = len(self)
        numbers = self.add(digests)
        highest = np.maximum.accumulate(np.concatenate(([before - 1], numbers)))
        return numbers > highest[:-1]

    def _reserve(self, more: int) -> None:
        self._digests.reserve(more)
        size = len(self._slots)
        while len(self) + more > _LOAD * size:
            size *= 2
        if size > len(self._slots):
            self._slots = np.full(size, -1, np.int32)
            _fill(self._digests.array, len(self), self._slots)


@nb.njit
def _slot(digests: Any, slots: Any, first: Any, second: Any) -> int:
    """The slot of a digest, or the free one where it belongs."""
    mask = slots.size - 1
    at: int = np.int64(first & np.uint64(mask))  # type: ignore[assignment]
    while slots[at] >= 0 and (digests[slots[at], 0] != first or digests[slots[at], 1] != second):
        at = (at + 1) & mask
    return at


@nb.njit(nb.i8(U64_ROWS, nb.u8[:, ::1], nb.i4[::1], nb.i8, nb.i8[::1]), **COMPILED)
def _add(new: Any, digests: Any, slots: Any, count: int, numbers: Any) -> int:
    for i in range(new.shape[0]):
        at = _slot(digests, slots, new[i, 0], new[i, 1])
        if slots[at] < 0:
            slots[at] = count
            digests[count, 0] = new[i, 0]
            digests[count, 1] = new[i, 1]
            count += 1
        numbers[i] = slots[at]
    return count


@nb.njit(nb.void(nb.u8[:, ::1], nb.i8, nb.i4[::1]), **COMPILED)
def _fill(digests: Any, count: int, slots: Any) -> None:
    for number in range(count):
        slots[_slot(digests, slots, digests[number, 0], digests[number, 1])] = number
