"""A sorted run: entries of a table that left memory, in files that are never changed, and what finds a key in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from synth_ray.dedup import run_kernels as kernels
from synth_ray.dedup.disk_array import DiskArray
from synth_ray.dedup.hashing import U8, U32, U64, Array
from synth_ray.dedup.kernel_types import read_only
from synth_ray.dedup.run_kernels import Entries

MOST_ENTRIES = 2**32 - 1
U16 = np.uint16
_PIECE = 1 << 20
_HI_BITS = 32
_NO_KEYS = np.zeros(0, U32)
_FULL_BUCKET = 9  # entries on average; half as many at least


class Run:
    """In memory: 8 bits of an entry, 16 where keys are not wide, and 1.1 to 2.2 for its bucket. See `run_kernels`.

    On the disk: the bits of `hi` below its bucket (16, or 32 in a small run) and the value, and of a wide key all of `lo`: 6 or
    10 bytes an entry. It may be read from two threads, by `range_of` from one of them.
    """

    def __init__(self, path: Path, pieces: Iterable[Entries], *, at_most: int, is_wide: bool = False) -> None:
        """Write a run of these pieces, in order, with `at_most` entries together. Raises SynthRayError where the disk is full."""
        buckets = max(1, at_most // _FULL_BUCKET).bit_length()
        self._shift = _HI_BITS - buckets
        self._rests = DiskArray(path.with_suffix(".keys"), U16 if self._shift <= 16 else U32)
        self._values = DiskArray(path.with_suffix(".ids"), U32)
        self._los = DiskArray(path.with_suffix(".los"), U32) if is_wide else None
        self._marks = np.empty(at_most, U8 if is_wide else U16)
        self._firsts, self._offsets = np.empty((1 << buckets >> kernels.GROUP_BITS) + 1, U32), np.empty((1 << buckets) + 1, U8)
        try:
            self._write(pieces)
        except BaseException:
            self.close()
            raise

    def _write(self, pieces: Iterable[Entries]) -> None:
        noted = 0
        for piece in pieces:
            first, last = len(self), len(self) + len(piece.key_hi)
            noted = self._note(piece.key_hi, first, noted)
            self._marks[first:last] = piece.key_lo if self._los is None else piece.key_lo >> U32(24)
            if self._los is not None:
                self._los.append(piece.key_lo)
            self._values.append(piece.values)
            self._rests.append(piece.key_hi & U32((1 << self._shift) - 1))
        self._note(_NO_KEYS, len(self), noted, last=len(self._offsets) - 1)
        self._marks.resize(max(1, len(self)), refcheck=False)  # realloc: gives back what values past the cap left free

    def _note(self, key_hi: Array, first: int, noted: int, *, last: int = -1) -> int:
        done = kernels.note_buckets(key_hi, first, self._shift, self._firsts, self._offsets, noted, last)
        if done < 0:  # never with keys that are evenly spread
            self._offsets = self._offsets.astype(U32)
            done = kernels.note_buckets(key_hi, first, self._shift, self._firsts, self._offsets, noted, last)
        return int(done)

    def __len__(self) -> int:
        return self._rests.length

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self._marks.nbytes + self._firsts.nbytes + self._offsets.nbytes

    @property
    def files(self) -> list[DiskArray]:
        return [file for file in (self._rests, self._values, self._los) if file is not None]

    def range_of(self, first: int, last: int) -> Entries:
        """The entries whose `hi` is `first` to `last`."""
        bucket, behind = first >> self._shift, (last >> self._shift) + 1
        begin, end = self._entries_before(bucket), self._entries_before(behind)
        rests = self._rests.read(begin, end)
        key_hi = np.empty(end - begin, U32)
        kernels.restore_hi(self._in_memory(), bucket, rests, key_hi)
        key_lo = self._marks[begin:end] if self._los is None else self._los.read(begin, end)
        return Entries(key_hi, key_lo, self._values.read(begin, end)).range_of(first, last)

    def _entries_before(self, bucket: int) -> int:
        return int(self._firsts[bucket >> kernels.GROUP_BITS]) + int(self._offsets[bucket])

    def _in_memory(self) -> kernels.Marks:
        return kernels.Marks(read_only(self._marks), read_only(self._firsts), read_only(self._offsets), self._shift)

    def find(self, keys: Array) -> tuple[Array, Array]:
        """(position in `keys`, id) of everything under the keys, none of which is 0, in order."""
        at, entries = self._propose(keys)
        proposed = keys[at]
        his = np.maximum(proposed >> U64(32), U64(1)) & U64((1 << self._shift) - 1)
        found = self._rests.view[entries] == his
        if self._los is not None:
            at, entries, proposed = at[found], entries[found], proposed[found]
            found = self._los.view[entries] == proposed.astype(U32)
        return at[found], self._values.view[entries[found]]

    def _propose(self, keys: Array) -> tuple[Array, Array]:
        room = max(256, len(keys) // 4)
        marks = self._in_memory()
        while True:
            at, entries = np.empty(room, U32), np.empty(room, np.int64)
            count = kernels.propose(marks, keys, at, entries)
            if count <= room:
                return at[:count], entries[:count]
            room = count

    def close(self) -> None:
        """Delete the files."""
        for file in self.files:
            file.close()


def merged(parts: Sequence[Run], *, cap: int, piece: int = _PIECE, go_on: Callable[[], None] = lambda: None) -> Iterator[Entries]:
    """The entries of all parts, the earliest inserted first, as one run in pieces of about `piece` entries. `go_on` is called
    before each piece, and raises to end it.
    """
    pieces = sum(map(len, parts)) // piece + 1
    for number in range(pieces):
        go_on()
        yield merged_range(parts, number, pieces, cap=cap)


def merged_range(parts: Sequence[Run | Entries], number: int, ranges: int, *, cap: int) -> Entries:
    """The entries whose `hi` lies in one of `ranges` equal ranges; of each key, the first `cap` distinct values."""
    first, last = (number << 32) // ranges, ((number + 1 << 32) // ranges) - 1
    cut = [part.range_of(first, last) for part in parts]
    if len(cut) == 1:
        return cut[0]
    key_hi, key_lo, values = (np.concatenate(columns) for columns in zip(*cut, strict=True))
    ends = np.cumsum([len(part.key_hi) for part in cut])
    heads = np.concatenate((np.zeros(1, np.int64), ends[:-1]))
    out = Entries(np.empty_like(key_hi), np.empty_like(key_lo), np.empty_like(values))
    stretches = kernels.Stretches(heads, read_only(ends), np.empty_like(heads))
    entries = Entries(*map(read_only, (key_hi, key_lo, values)))
    n = kernels.merge(entries, stretches, cap, out)
    return out.part(0, n)
