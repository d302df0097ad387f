"""An array in a file: appended to by writing, looked up by memory mapping, so that the kernel decides what of it is in memory."""

from __future__ import annotations

import errno
import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np

from synth_ray.dedup.hashing import U8, Array
from synth_ray.errors import SynthRayError

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_GROWTH = 1.25


class DiskArray:
    """See `table.GrowableArray`. The file is new, and is deleted by `close`.

    It is written to, never mapped for writing: a full disk is then an error of the write, where a mapped page that finds no room
    on the disk would kill the process. The mapping reaches beyond the end, so that it is seldom made anew; what the file has
    there is a hole.
    """

    def __init__(self, path: Path, kind: Any, *, width: int | None = None) -> None:
        self._path, self._kind, self._shape = path, np.dtype(kind), () if width is None else (width,)
        self._item = self._kind.itemsize * (width or 1)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self.length = 0
        self._mapped: Array = self._nothing()

    def _nothing(self) -> Array:
        return np.zeros((0, *self._shape), self._kind)

    @property
    def nbytes(self) -> int:
        """Bytes on the disk."""
        return self.length * self._item

    @property
    def view(self) -> Array:
        """For reading here and there: a page that is not in memory is read alone. Do not keep it beyond `close`."""
        if len(self._mapped) < self.length:
            room = int(self.length * _GROWTH)
            os.ftruncate(self._file, room * self._item)
            mapping = mmap.mmap(self._file, room * self._item, access=mmap.ACCESS_READ)
            mapping.madvise(mmap.MADV_RANDOM)
            self._mapped = np.frombuffer(mapping, self._kind).reshape(room, *self._shape)
        return self._mapped[: self.length]

    def read(self, first: int, last: int) -> Array:
        """A copy of a stretch, for reading from end to end: it is read ahead, and stays in no mapping."""
        out = np.empty((last - first, *self._shape), self._kind)
        place = memoryview(out.reshape(-1).view(U8).data)
        at = first * self._item
        while place:
            got = os.preadv(self._file, [place], at)
            if not got:
                raise SynthRayError(f"{self._path}: wanted {len(place):,} more bytes, got the end of the file; who shortened it?")
            place, at = place[got:], at + got
        return out

    def append(self, values: Array) -> None:
        """Raises SynthRayError where the disk is full."""
        data = memoryview(np.ascontiguousarray(values, self._kind).reshape(-1).view(U8).data)
        at = self.nbytes
        try:
            while data:
                written = os.pwrite(self._file, data, at)
                data, at = data[written:], at + written
        except OSError as error:
            raise _not_written(self._path.parent, at, error) from None
        self.length += len(values)

    def release(self) -> None:
        """Give back the memory that the kernel uses for the file; what is needed is read again."""
        self._mapped = self._nothing()
        os.fsync(self._file)
        os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        """Delete the file. More than once is as good as once."""
        if self._file < 0:
            return
        self._mapped, self.length = self._nothing(), 0
        os.close(self._file)
        self._file = -1
        self._path.unlink(missing_ok=True)


def _not_written(folder: Path, size: int, error: OSError) -> SynthRayError:
    got = "a full disk" if error.errno in _DISK_FULL else f"'{os.strerror(error.errno or 0)}'"
    return SynthRayError(
        f"{folder}: wanted to add to {size:,} bytes of the index on the local disk, got {got}; free some "
        "space, or set TMPDIR to a larger disk, then run the same command: it goes on"
    )
