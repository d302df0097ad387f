"""Verdicts in chunk order: what staging rejected, what repeats a kept row, what touches an evaluation set, what is too much."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from synth_ray.dedup.index import EXACT, FULL, NEAR, Batch, Index
from synth_ray.job.dedup import Dedup
from synth_ray.job.split import Target
from synth_ray.records import SPLITS, Reason, verdict_of

VERDICTS = pa.schema(
    [
        ("id", pa.string()),
        ("verdict", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("witness", pa.string()),
        ("similarity", pa.float64()),
    ]
)

_UNLIMITED = 2**62
_REASONS = {EXACT: Reason.EXACT_DUPLICATE, NEAR: Reason.NEAR_DUPLICATE, FULL: Reason.OVER_QUOTA}


class Admission:
    """Decides staged rows. `real` rows (scrubbed and fingerprinted) are indexed first and always kept.

    `evals` are the n-gram hashes of each evaluation set, by its name. A row near a kept row of another split is
    rejected(cross_split), whichever of the two is for training: nothing kept crosses splits.
    """

    def __init__(
        self,
        *,
        dedup: Dedup,
        target: Target,
        real: pa.Table,
        evals: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self._index = Index(bands=dedup.bands, threshold=dedup.threshold, cap=dedup.bucket_cap, near=dedup.near)
        self._bands = dedup.bands
        self._evals = {name: np.unique(hashes) for name, hashes in (evals or {}).items()}
        self._ids = np.zeros((1 << 10, 16), np.uint8)
        self._splits = np.zeros(1 << 10, np.int8)
        self._room = np.array([_UNLIMITED], np.int64)
        self._index_real(real)
        if target.accepted is not None:
            self._room[0] = target.accepted

    @property
    def index_bytes(self) -> int:
        return self._index.nbytes + self._ids.nbytes + self._splits.nbytes

    @property
    def is_full(self) -> bool:
        """The target is reached: every further row would be over quota."""
        return bool(self._room[0] <= 0)

    def _index_real(self, real: pa.Table) -> None:
        if not real.num_rows:
            return
        found = self._index.decide(_batch(real, self._bands), room=self._room, cell=np.zeros(real.num_rows, np.int64))
        self._remember(real, found.code, found.number)

    def decide(self, staged: pa.Table) -> pa.Table:
        """A verdict per row, in the rows' order; see VERDICTS. Call with chunks in order, each once."""
        reasons: list[str | None] = staged["reason"].to_pylist()
        details: list[str | None] = staged["detail"].to_pylist()
        self._contaminated(staged, reasons, details)
        open_rows = np.flatnonzero([reason is None for reason in reasons])
        witness: list[str | None] = [None] * staged.num_rows
        similarity: list[float | None] = [None] * staged.num_rows
        if len(open_rows):
            rows = staged.take(pa.array(open_rows))
            found = self._index.decide(_batch(rows, self._bands), room=self._room, cell=np.zeros(len(open_rows), np.int64))
            self._remember(rows, found.code, found.number)
            splits = rows["split"].to_pylist()
            for place, row in enumerate(open_rows.tolist()):
                code, kept = int(found.code[place]), int(found.number[place])
                if code in (EXACT, NEAR):
                    crosses = SPLITS[self._splits[kept]] != splits[place]
                    reasons[row] = (Reason.CROSS_SPLIT if crosses else _REASONS[code]).value
                    witness[row], similarity[row] = self._ids[kept].tobytes().hex(), float(found.similarity[place])
                elif code == FULL:
                    reasons[row] = Reason.OVER_QUOTA.value
        return _verdicts(staged, reasons, details, witness, similarity)

    def _contaminated(self, staged: pa.Table, reasons: list[str | None], details: list[str | None]) -> None:
        if not self._evals:
            return
        hashes, offsets = _unpacked(staged["ngrams"], np.uint64)
        owner = np.repeat(np.arange(staged.num_rows), np.diff(offsets))
        for name, known in self._evals.items():
            for row in np.unique(owner[np.isin(hashes, known)]).tolist():
                if reasons[row] is None:
                    reasons[row], details[row] = Reason.CONTAMINATED.value, name

    def _remember(self, rows: pa.Table, code: np.ndarray, number: np.ndarray) -> None:
        """The ids and splits of the rows just kept, by their number: a witness is told by id."""
        kept = np.flatnonzero(code == 0)
        if not len(kept):
            return
        most = int(number[kept[-1]]) + 1
        while most > len(self._splits):
            self._ids = np.concatenate((self._ids, np.zeros_like(self._ids)))
            self._splits = np.concatenate((self._splits, np.zeros_like(self._splits)))
        ids = b"".join(bytes.fromhex(rows["id"][int(i)].as_py()) for i in kept)
        self._ids[number[kept]] = np.frombuffer(ids, np.uint8).reshape(-1, 16)
        self._splits[number[kept]] = [SPLITS.index(rows["split"][int(i)].as_py()) for i in kept]


def _verdicts(
    staged: pa.Table,
    reasons: list[str | None],
    details: list[str | None],
    witness: list[str | None],
    similarity: list[float | None],
) -> pa.Table:
    verdicts = [verdict_of(Reason(r) if r is not None else None).value for r in reasons]
    columns: list[Any] = [staged["id"], verdicts, reasons, details, witness, similarity]
    return pa.table(columns, schema=VERDICTS)


def _batch(rows: pa.Table, bands: int) -> Batch:
    packed = rows["bands"].to_pylist()
    banded = np.array([bool(one) for one in packed], bool)
    none = b"\0" * (8 * bands)
    keys = np.frombuffer(b"".join(one or none for one in packed), np.uint64).reshape(-1, bands).copy()
    identity = np.frombuffer(b"".join(rows["digest"].to_pylist()), np.uint64).reshape(-1, 2).copy()
    shingles, offsets = _unpacked(rows["shingles"], np.uint32)
    return Batch(identity, keys, banded, shingles, offsets)


def _unpacked(column: pa.ChunkedArray, kind: Any) -> tuple[np.ndarray, np.ndarray]:
    packed = column.to_pylist()
    size = np.dtype(kind).itemsize
    lengths = np.array([len(one) // size for one in packed], np.int64)
    return np.frombuffer(b"".join(packed), kind).copy(), np.concatenate(([0], np.cumsum(lengths)))
