"""Arrays that grow where they are, in huge pages where the kernel has them.

A table is read at random. In pages of 4 kB nearly every such read of a large one also misses the processor's list of page
addresses (TLB). `realloc` gives no huge pages, and splits those that an array has. So a large array is a mapping of its own, of
whole huge pages: the kernel then moves it by pages when it grows.
"""

from __future__ import annotations

import mmap
import sys
from contextlib import suppress
from typing import Any

import numpy as np

from synth_ray.dedup.hashing import Array

_HUGE_PAGE = 1 << 21
_LARGE = 2 * _HUGE_PAGE
_IS_LINUX = sys.platform == "linux"  # elsewhere a mapping can neither grow nor ask for huge pages


class Growing:
    """`array`, of zeros at first, whose length may grow. Keep no view of it while it does: where it is large, one that is in use
    only costs a copy; where it is small, the view is of memory that is gone.
    """

    def __init__(self, kind: Any, length: int, *, width: int | None = None) -> None:
        self._row = () if width is None else (width,)
        self._mapping: mmap.mmap | None = None
        self.array: Array = np.zeros((0, *self._row), kind)
        self.resize(length)

    def resize(self, length: int) -> None:
        """Raises OSError or MemoryError where there is no memory."""
        shape = (length, *self._row)
        size = int(np.prod(shape, dtype=np.int64)) * self.array.itemsize
        if self._mapping is None and (size < _LARGE or not _IS_LINUX):
            self.array.resize(shape, refcheck=False)
        else:
            self._resize_mapping(shape, size + -size % _HUGE_PAGE)

    def _resize_mapping(self, shape: tuple[int, ...], size: int) -> None:
        kind, length = self.array.dtype, len(self.array)
        if self._mapping is not None:
            self.array = np.zeros((0, *self._row), kind)  # a mapping that has views does not move
            if _moved(self._mapping, size):
                self.array = _viewed(self._mapping, kind, shape)
                return
            self.array = _viewed(self._mapping, kind, (length, *self._row))
        self._mapping = _mapped(size)
        grown = _viewed(self._mapping, kind, shape)
        grown[:length] = self.array
        self.array = grown


def _mapped(size: int) -> mmap.mmap:
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without huge pages
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def _moved(memory: mmap.mmap, size: int) -> bool:
    try:
        if len(memory) != size:
            memory.resize(size)
    except BufferError:
        return False
    return True


def _viewed(memory: mmap.mmap, kind: Any, shape: tuple[int, ...]) -> Array:
    return np.frombuffer(memory, kind, int(np.prod(shape, dtype=np.int64))).reshape(shape)
