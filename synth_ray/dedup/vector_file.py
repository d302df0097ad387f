"""The kept rows' vectors on the local disk, cell by cell: a row is compared with stretches of a file, not with one vector here
and one there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from synth_ray.dedup import cell_kernels as kernels
from synth_ray.dedup.cells import Asked, Centroids, near_in_lists, norms_of
from synth_ray.dedup.disk_array import DiskArray
from synth_ray.dedup.hashing import U32
from synth_ray.dedup.kernel_types import read_only
from synth_ray.dedup.table import GrowableArray
from synth_ray.dedup.vectors import BLOCK, NOTHING_NEAR, Near, near_any

Array = np.ndarray[Any, Any]

_SIZE = kernels.BLOCK_IDS
_ROWS = 4096


class VectorFile:
    """See `stores.VectorStore`. A byte a dimension and 12 a row on the disk; twice that while cells are set anew.

    In memory: the centroids, and of each cell a block of 32 vectors that is not full yet; of a row an eighth of a byte. `folder`
    is a new one of this store alone; `close` deletes its files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._centroids: Centroids | None = None
        self._blocks: _Blocks | None = None
        self._made = 0
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return sum(part.nbytes for part in (self._centroids, self._blocks) if part is not None)

    @property
    def disk_nbytes(self) -> int:
        return sum(file.nbytes for file in self.files)

    @property
    def files(self) -> tuple[DiskArray, ...]:
        return self._blocks.files if self._blocks is not None else ()

    def append(self, vectors: Array, numbers: Array) -> None:
        """Raises SynthRayError where the disk is full."""
        if not len(vectors):
            return
        if self._blocks is None:
            self._blocks = self._new_blocks(vectors.shape[1])
        self._blocks.add(kernels.Stored(vectors, numbers.astype(U32), norms_of(vectors)))

    def set_cells(self, centroids: Centroids) -> None:
        """Writes every vector again. Raises SynthRayError where the disk is full."""
        self._centroids, old = centroids, self._blocks
        if old is None:
            return
        made = self._new_blocks(old.dimensions)
        try:
            for part in old.parts():
                made.add(part)
        except BaseException:
            made.close()
            raise
        self._blocks = made
        old.close()

    def _new_blocks(self, dimensions: int) -> _Blocks:
        self._made += 1
        return _Blocks(self._folder, f"{self._made:03d}", dimensions, self._centroids)

    def near(self, vectors: Array, cells: Array, threshold: float) -> Near:
        if self._blocks is None:
            return NOTHING_NEAR
        if not cells.shape[1]:
            return near_any(self._blocks.parts(), vectors, threshold)
        return self._blocks.near(Asked.of(vectors, cells, threshold))

    def close(self) -> None:
        """Delete the files."""
        if self._blocks is not None:
            self._blocks.close()


class _Blocks:
    """Vectors in the cells of these centroids, or in one. Each cell has a chain of full blocks in the files, and an open one."""

    def __init__(self, folder: Path, name: str, dimensions: int, centroids: Centroids | None) -> None:
        cells = len(centroids) if centroids is not None else 1
        self._centroids, self.dimensions = centroids, dimensions
        self._open = _room(cells, dimensions)
        self._last, self._filled = np.full(cells, kernels.NO_BLOCK, np.int32), np.zeros(cells, np.int32)
        self._previous = GrowableArray(np.int32)
        self.files = (
            DiskArray(folder / f"vectors-{name}", np.int8, width=dimensions),
            DiskArray(folder / f"numbers-{name}", U32),
            DiskArray(folder / f"norms-{name}", np.float64),
        )

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in (*self._open, self._last, self._filled, self._previous))

    def add(self, rows: kernels.Stored) -> None:
        for at in range(0, len(rows.numbers), _ROWS):
            self._add(kernels.Stored(*(read_only(np.ascontiguousarray(array[at : at + _ROWS])) for array in rows)))

    def _add(self, rows: kernels.Stored) -> None:
        size = len(rows.numbers)
        cells = self._centroids.cells_of(rows.vectors) if self._centroids is not None else np.zeros(size, np.int32)
        filled = np.bincount(cells, minlength=len(self._filled)) + self._filled
        full = _room(int((filled // _SIZE).sum()), self.dimensions)
        self._previous.reserve(size)
        blocks = kernels.Blocks(self._previous.array, self._last, self._filled)
        self._previous.length += kernels.fill_blocks(cells, rows, self._open, blocks, self._previous.length, full)
        for file, array in zip(self.files, full, strict=True):
            file.append(array)

    def near(self, asked: Asked) -> Near:
        cells, no_ids = len(self._last), np.zeros((0, _SIZE), np.int32)
        full = kernels.Lists(no_ids, self._previous.array, self._last, np.full(cells, _SIZE, np.int32))
        alone = kernels.Lists(no_ids, np.full(cells, kernels.NO_BLOCK, np.int32), np.arange(cells, dtype=np.int32), self._filled)
        in_files = kernels.Stored(*(file.view for file in self.files))
        return Near.joined(_near(asked, lists, stored) for lists, stored in ((full, in_files), (alone, self._open)))

    def parts(self) -> Iterator[kernels.Stored]:
        """All of them, as they lie."""
        for at in range(0, self.files[0].length, BLOCK):
            end = min(at + BLOCK, self.files[0].length)
            yield kernels.Stored(*(file.read(at, end) for file in self.files))
        taken = (np.arange(_SIZE) < self._filled[:, None]).reshape(-1)
        yield kernels.Stored(*(array[taken] for array in self._open))

    def close(self) -> None:
        for file in self.files:
            file.close()


def _near(asked: Asked, lists: kernels.Lists, stored: kernels.Stored) -> Near:
    row, place, similarity = near_in_lists(asked, lists, stored.vectors, stored.norms)
    return Near(row, stored.numbers[place].astype(np.int64), similarity)


def _room(blocks: int, dimensions: int) -> kernels.Stored:
    rows = blocks * _SIZE
    return kernels.Stored(np.zeros((rows, dimensions), np.int8), np.zeros(rows, U32), np.zeros(rows))
