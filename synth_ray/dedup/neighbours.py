"""For a text, every earlier text that is identical or near: the basis of seed groups."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from synth_ray.dedup.fingerprint import SHORT_NGRAM, Fingerprinter
from synth_ray.dedup.hashing import U32, U64
from synth_ray.dedup.index_kernels import jaccard
from synth_ray.dedup.table import GrowableArray, Table
from synth_ray.job.dedup import Dedup

_CAP = 64


class Neighbours:
    """Texts in order. It has fixed parameters, so that seeds are grouped in the same way whatever a job's `dedup` says."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._prints = Fingerprinter(Dedup(ngram=SHORT_NGRAM, threshold=threshold))
        self._table = Table()
        self._store, self._ends, self._digests = GrowableArray(U32), GrowableArray(np.int64), GrowableArray(U64, width=2)
        self._ends.append(np.zeros(1, np.int64))

    def find_and_add(self, texts: Sequence[str]) -> list[list[int]]:
        """For each text, the numbers of the earlier ones it is near; then it is added under the next number.

        A text of few words is near only what is identical to it.
        """
        prints = self._prints(pa.array(texts, pa.large_string()))
        neighbours = []
        for row in range(len(prints)):
            new = prints.shingles[prints.offsets[row] : prints.offsets[row + 1]]
            digest = prints.digests[row]
            keys = np.concatenate((digest[:1], prints.bands[row] if len(new) else prints.bands[row][:0]))
            candidates = np.unique(self._table.lookup(keys)[1]).tolist()
            near = [k for k in candidates if np.array_equal(self._digests.array[k], digest) or self._is_near(new, k)]
            number = self._ends.length - 1
            self._table.insert(keys, np.full(len(keys), number, U32), cap=_CAP)
            self._store.append(new)
            self._digests.append(digest[None, :])
            self._ends.append(np.array([self._store.length]))
            neighbours.append(near)
        return neighbours

    def _is_near(self, new: np.ndarray, number: int) -> bool:
        old = self._store.array[self._ends.array[number] : self._ends.array[number + 1]]
        return bool(len(new) and len(old) and jaccard(new, old) >= self._threshold)
