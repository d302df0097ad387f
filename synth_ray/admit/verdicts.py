"""The verdicts of one chunk, row by row, and the policy that says which flags reject a row."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synth_ray.dataset.schema import VERDICT_COLUMNS
from synth_ray.job.check import Check
from synth_ray.records import Origin, Reason, verdict_of

VERDICTS = pa.schema([("id", pa.string()), *VERDICT_COLUMNS])


@dataclass(frozen=True, slots=True)
class Policy:
    """The flags that reject a generated row, those that reject a real one, and the ids of the rows that people rejected."""

    generated: frozenset[str] = frozenset()
    real: frozenset[str] = frozenset()
    rejected_by_people: frozenset[str] = frozenset()

    @classmethod
    def of_checks(cls, check: Check, *, rejected_by_people: frozenset[str] = frozenset()) -> Policy:
        return cls(frozenset(check.drop), frozenset(check.drop_of_real), rejected_by_people)

    def of(self, origin: str) -> frozenset[str]:
        return self.real if origin == Origin.REAL else self.generated

    def without(self, flag: str) -> Policy:
        return replace(self, generated=self.generated - {flag}, real=self.real - {flag})


def first_dropped(flags: Iterable[str] | None, drop: Collection[str]) -> str | None:
    """The policy: the first of a row's flags that is in `drop`, and so rejects the row."""
    return next((flag for flag in flags or () if flag in drop), None)


class VerdictBuilder:
    """Collects the verdicts of one chunk. A row keeps its first reason."""

    def __init__(self, staged: pa.Table, policy: Policy) -> None:
        self.staged = staged
        self.reasons: list[str | None] = staged["reason"].to_pylist()
        flagged = np.flatnonzero(pc.fill_null(pc.list_value_length(staged["flags"]), 0))
        columns = (staged[name].take(pa.array(flagged)).to_pylist() for name in ("flags", "origin"))
        for row, flags, origin in zip(flagged.tolist(), *columns, strict=True):
            self.reasons[row] = self.reasons[row] or first_dropped(flags, policy.of(origin))
        if policy.rejected_by_people:
            for row, name in enumerate(staged["id"].to_pylist()):
                if name in policy.rejected_by_people:
                    self.reasons[row] = self.reasons[row] or Reason.REJECTED_BY_PEOPLE.value
        self.details: list[str | None] = staged["detail"].to_pylist()
        self.witness: list[str | None] = [None] * staged.num_rows
        self.similarity: list[float | None] = [None] * staged.num_rows
        self._open: Any = None

    @property
    def open_rows(self) -> Any:
        """The rows without a reason at the first access; computed once."""
        if self._open is None:
            self._open = np.flatnonzero([reason is None for reason in self.reasons])
        return self._open

    def reject(self, row: int, reason: Reason, detail: str | None = None) -> None:
        if self.reasons[row] is None:
            self.reasons[row], self.details[row] = reason.value, detail

    def name_witness(self, row: int, name: str, similarity: float | None) -> None:
        self.witness[row], self.similarity[row] = name, similarity

    def explain(self, row: int, detail: str) -> None:
        """A detail for a rejected row that has none."""
        if self.reasons[row] not in (None, detail) and self.details[row] is None:
            self.details[row] = detail

    def table(self) -> pa.Table:
        reasons = pa.array(self.reasons, pa.string()).dictionary_encode(null_encoding="encode")
        of_reason = [verdict_of(Reason(r) if r is not None else None).value for r in reasons.dictionary.to_pylist()]
        verdicts = pa.array(of_reason, pa.string()).take(reasons.indices)
        columns: list[Any] = [self.staged["id"], verdicts, self.reasons, self.details, self.witness, self.similarity]
        return pa.table(columns, schema=VERDICTS)
