"""For a text, every earlier text that is identical or near: the basis of seed groups."""

from __future__ import annotations

import numpy as np

from synth_ray.dedup import neighbour_kernels as kernels
from synth_ray.dedup.fingerprint import SHORT_NGRAM, Fingerprinter, Fingerprints
from synth_ray.dedup.hashing import U32, U64, Array
from synth_ray.dedup.kernel_types import read_only
from synth_ray.dedup.table import GrowableArray, Table
from synth_ray.job.dedup import Dedup

_CAP = 64
_FULL = 0.84


def neighbour_fingerprinter(threshold: float) -> Fingerprinter:
    """It has fixed parameters, so that seeds are grouped in the same way whatever a job's `dedup` says."""
    return Fingerprinter(Dedup(ngram=SHORT_NGRAM, threshold=threshold))


class Neighbours:
    """Texts in order, numbered from 0, by their fingerprints. About 0.5 kB a text of 40 words.

    Law: what is found depends on the texts and their order alone, not on the batches they come in.
    """

    def __init__(self, threshold: float) -> None:
        self._rules = kernels.Rules(threshold, _CAP)
        self._table = Table()
        self._shingles, self._ends, self._digests = GrowableArray(U32), GrowableArray(np.int64), GrowableArray(U64, width=2)
        self._ends.append(np.zeros(1, np.int64))
        self._counters = np.zeros(4, np.int64)

    def __len__(self) -> int:
        return int(self._counters[kernels.TEXTS])

    @property
    def nbytes(self) -> int:
        return self._table.nbytes + self._shingles.nbytes + self._ends.nbytes + self._digests.nbytes

    def find_and_add(self, prints: Fingerprints) -> tuple[Array, Array]:
        """(ends, numbers): text i of the batch is near the earlier texts `numbers[ends[i]:ends[i + 1]]`, in ascending order.
        Then it is added under the next number. A text of few words is near only what is identical to it.
        """
        keys = prints.bands.shape[1] + 1
        rows = kernels.Prints(*map(read_only, (prints.digests, prints.bands, prints.shingles, prints.offsets)))
        earlier = self._reserve(prints)
        self._reserve_table(len(prints) * keys)
        candidates = np.empty(keys * _CAP, U32)
        numbers, ends = np.empty(len(candidates) + 4 * len(prints), U32), np.zeros(len(prints) + 1, np.int64)
        counters, row = self._counters, 0
        counters[kernels.ENTRIES], counters[kernels.NEAR] = self._table.used, 0
        while True:
            out = kernels.Near(ends, numbers, candidates)
            row = kernels.find_and_add(rows, earlier, self._table.slots, self._rules, out, counters, row)
            self._table.used = int(counters[kernels.ENTRIES])
            if row == len(prints):
                break
            if len(numbers) - counters[kernels.NEAR] < len(candidates):
                numbers = np.concatenate((numbers, np.empty(len(numbers), U32)))
            else:
                self._table.grow_step()
        for array in (self._digests, self._ends):
            array.length += len(prints)
        self._shingles.length = int(self._ends.view[-1])
        return ends, numbers[: ends[-1]]

    def _reserve_table(self, more: int) -> None:
        """By a quarter at a time: seeds come in small batches, and each growing is a pass over the whole table."""
        if self._table.used + more > _FULL * self._table.size:
            self._table.reserve(more + self._table.used // 4)

    def _reserve(self, prints: Fingerprints) -> kernels.Earlier:
        self._digests.reserve(len(prints))
        self._ends.reserve(len(prints))
        self._shingles.reserve(len(prints.shingles))
        return kernels.Earlier(self._digests.array, self._shingles.array, self._ends.array)
