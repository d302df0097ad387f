"""Every earlier text that a text is near, not only whether there is one: what groups of seeds are made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from synth_ray.dedup.fingerprint import SHORT_NGRAM, Fingerprinter
from synth_ray.dedup.hashing import U32
from synth_ray.dedup.index_kernels import jaccard
from synth_ray.dedup.table import Appended, Table
from synth_ray.job.dedup import Dedup

_CAP = 64


class Neighbours:
    """Texts in order. Its parameters are its own, so that a job that compares rows otherwise groups seeds alike."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._prints = Fingerprinter(Dedup(ngram=SHORT_NGRAM, threshold=threshold))
        self._table = Table()
        self._store, self._ends = Appended(U32), Appended(np.int64)
        self._ends.append(np.zeros(1, np.int64))

    def add(self, texts: Sequence[str]) -> list[list[int]]:
        """For each text, the numbers of the earlier ones it is near; it gets the next number itself."""
        prints = self._prints(pa.array(texts, pa.large_string()))
        found = []
        for row in range(len(prints)):
            mine = prints.shingles[prints.offsets[row] : prints.offsets[row + 1]]
            keys = prints.bands[row] if len(mine) else prints.bands[row][:0]
            near = [int(k) for k in np.unique(self._table.lookup(keys)[1]) if self._is_near(mine, int(k))]
            number = self._ends.length - 1
            self._table.insert(keys, np.full(len(keys), number, U32), cap=_CAP)
            self._store.append(mine)
            self._ends.append(np.array([self._store.length]))
            found.append(near)
        return found

    def _is_near(self, mine: np.ndarray, number: int) -> bool:
        theirs = self._store.array[self._ends.array[number] : self._ends.array[number + 1]]
        return bool(jaccard(mine, theirs) >= self._threshold)
