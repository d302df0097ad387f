"""The split of each lineage: a lineage near a placed group joins it; one near groups of different splits is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from synth_ray.dedup import lineage_kernels as kernels
from synth_ray.dedup.digest_numbers import DigestNumbers
from synth_ray.dedup.hashing import Array
from synth_ray.dedup.kernel_types import read_only
from synth_ray.dedup.lineage_kernels import CONFLICT, PLACED, RESERVED
from synth_ray.dedup.table import GrowableArray

__all__ = ["CONFLICT", "PLACED", "RESERVED", "Lineages", "Places"]


@dataclass(frozen=True, slots=True)
class Places:
    """Of N rows: PLACED, CONFLICT or RESERVED; and of those that are placed, the lineage (N×2 uint64) that began their group and
    the group's split, as an index in `records.SPLITS`.
    """

    verdicts: Array
    lineages: Array
    splits: Array


class Lineages:
    """Law: lineages that were ever joined are in one split, and a placed lineage never moves. About 40 bytes a row.

    Groups are made in the order of the rows. A row near groups of different splits is not placed: RESERVED where one of them
    belongs to real evaluation rows, else CONFLICT. A row in such a group is RESERVED too, unless it is itself `reserved`: such a
    row is always placed, in the first group it is near.
    """

    def __init__(self) -> None:
        self._numbers = DigestNumbers()
        self._of_row = GrowableArray(np.int32)
        self._group, self._split, self._reserved = (GrowableArray(kind) for kind in (np.int32, np.int8, np.int8))

    def place(
        self, lineages: Array, near: tuple[Array, Array], splits: Array, draw: Callable[[int], int], *, reserved: bool = False
    ) -> Places:
        """Place the next rows. `near` are (ends, numbers of similar earlier rows); `splits` are those of groups that the rows
        would begin, -1 where `draw(i)` is to be called for the split when row i begins one.
        """
        numbers = self._numbers.add(lineages)
        self._of_row.append(numbers)
        groups = self._reserve()
        ends, rows_near = near
        near_lineages = self._of_row.view[rows_near].astype(np.int64)
        rows = kernels.Rows(read_only(numbers), read_only(ends), read_only(near_lineages), splits.copy(), reserved)
        out, row = kernels.Placed(np.empty(len(numbers), np.int64), np.empty(len(numbers), np.int8)), 0
        while (row := kernels.place(rows, groups, out, row)) < len(numbers):
            rows.splits[row] = draw(row)
        known = np.maximum(out.group, 0)
        if not len(self._numbers):
            return Places(out.verdict, lineages, splits)
        return Places(out.verdict, self._numbers.digests[known], self._split.view[known])

    def _reserve(self) -> kernels.Groups:
        more = len(self._numbers) - self._group.length
        self._group.append(np.full(more, -1, np.int32))
        self._split.append(np.zeros(more, np.int8))
        self._reserved.append(np.zeros(more, np.int8))
        return kernels.Groups(self._group.array, self._split.array, self._reserved.array)
