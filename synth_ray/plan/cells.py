"""Cells of a balance: the values of a field, the cell of each seed, and the rows each cell wants."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from synth_ray.errors import JobError
from synth_ray.job.target import Balance
from synth_ray.records import Seed, fields_of

Codes = np.ndarray[Any, np.dtype[np.int32]]
Name = TypeVar("Name", str, tuple[str, str])

_JOINED_BY = " | "

MAX_CELLS = 10_000
"""A field with more values than this is refused: it does not group the seeds."""


def cell_of(fields: Mapping[str, Any], by: Iterable[str]) -> str | None:
    r"""The cell of a row: its values of the fields `by`, joined by " | "; None where a field is missing.

    Law: different values have different names. Where values hold the separator, their "|" are escaped, as in "a \| b | c".
    """
    values = [fields.get(name) for name in by]
    if any(value is None for value in values):
        return None
    texts = [str(value) for value in values]
    plain = _JOINED_BY.join(texts)
    if len(texts) == 1 or ("\\|" not in plain and plain.split(_JOINED_BY) == texts):
        return plain
    return _JOINED_BY.join(text.replace("\\", "\\\\").replace("|", "\\|") for text in texts)


class FieldCodes:
    """Each seed's value of the fields `by`, collected as seeds stream past: 4 bytes per seed, -1 without the fields."""

    def __init__(self, by: Sequence[str]) -> None:
        self._by = by
        self._codes: dict[str, int] = {}
        self._code_of_seed = array("i")

    def observe(self, seeds: Iterable[Seed]) -> Iterator[Seed]:
        for seed in seeds:
            if self._by:
                self.add([cell_of(seed.fields, self._by)])
            yield seed

    def add(self, names: Iterable[str | None]) -> None:
        """The values of the next seeds, where there are fields to tell them apart by; None without the fields."""
        self._code_of_seed.extend(-1 if name is None else self._code(name) for name in names)

    def _code(self, name: str) -> int:
        if len(self._codes) >= MAX_CELLS and name not in self._codes:
            fields = ", ".join(self._by)
            raise JobError(
                f"{fields}: wanted at most {MAX_CELLS:,} values to tell seeds apart by, got more; take a field of fewer values"
            )
        return self._codes.setdefault(name, len(self._codes))

    @property
    def by(self) -> Sequence[str]:
        return self._by

    @property
    def has_codes(self) -> bool:
        """Whether any seed has the fields."""
        return bool(self._codes)

    @property
    def counts(self) -> dict[str, int]:
        """The number of seeds with each value, sorted by value."""
        codes = self.codes
        sizes = np.bincount(codes[codes >= 0], minlength=len(self._codes))
        return {name: int(sizes[code]) for name, code in sorted(self._codes.items())}

    @property
    def codes(self) -> Codes:
        """Each seed's value as a number, -1 for none."""
        return np.array(self._code_of_seed, np.int32)

    def cells_of_seeds(self, names: Iterable[str]) -> Codes:
        """Each seed's index in `names`, by its value; -1 where its value is not among them."""
        place = {name: i for i, name in enumerate(names)}
        return np.array([*(place.get(name, -1) for name in self._codes), -1], np.int32)[self.codes]


class Cells:
    """The cells of a balance. Without a balance there is one cell, with every seed in it.

    `is_directed`: the seeds have the field, so that rows of a cell can be requested. Otherwise a row's own field gives its cell.
    """

    def __init__(self, balance: Balance | None) -> None:
        self.balance = balance
        self.seed_codes = FieldCodes(balance.by if balance is not None else ())

    @property
    def is_directed(self) -> bool:
        return self.seed_codes.has_codes

    def wanted_rows(self, accepted: int | None, like: Iterable[Seed] = (), *, copies: bool = False) -> dict[str, int]:
        """Rows wanted in each cell, sorted by cell. Raises JobError for a cell without seeds.

        Where the rows are `copies` of the seeds, `up_to` only caps a cell: no request can add rows to a small one.
        """
        balance = self.balance
        if balance is None:
            assert accepted is not None
            return {"": accepted}
        if balance.up_to is not None:
            up_to, have = balance.up_to, self.seed_codes.counts
            return {name: min(up_to, seeds) if copies else max(0, up_to - seeds) for name, seeds in have.items()}
        assert accepted is not None
        wanted = apportion(self._shares(like), accepted)
        self._refuse_unknown(wanted)
        return wanted

    def _shares(self, like: Iterable[Seed]) -> dict[str, float]:
        assert self.balance is not None
        if isinstance(self.balance.shares, dict):
            return dict(sorted(self.balance.shares.items()))
        if self.balance.shares is not None:
            if not self.is_directed:
                raise JobError(
                    "target.balance.shares: wanted seeds with the field for `equal`, got none that has it; name shares by value"
                )
            return dict.fromkeys(self.seed_codes.counts, 1.0)
        counts = Counter(cell_of(seed.fields, self.balance.by) for seed in like)
        known = {name: float(n) for name, n in counts.items() if name is not None}
        if not known:
            raise JobError("target.balance.like: wanted rows with the field, got none; fix the path or `by`")
        return dict(sorted(known.items()))

    def _refuse_unknown(self, wanted: Mapping[str, int]) -> None:
        known = self.seed_codes.counts
        lost = [name for name, rows in wanted.items() if rows and name not in known]
        if self.is_directed and lost:
            raise JobError(
                f"target.balance: wanted a seed in every cell, got none in {len(lost)} of {len(wanted)}; add seeds, or leave "
                "those values out of the shares"
            )

    def cells_of_rows(self, rows: pa.Table, names: Iterable[str]) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Each staged row's index in `names`, by its fields or its completion; `len(names)` for a row in none of these cells."""
        assert self.balance is not None
        place = {name: i for i, name in enumerate(names)}
        answers = zip(rows["completion"].to_pylist(), fields_of(rows), strict=True)
        cells = [cell_of({"completion": answer} | fields, self.balance.by) for answer, fields in answers]
        return np.array([place.get(name, len(place)) if name is not None else len(place) for name in cells], np.int64)


def apportion(shares: Mapping[Name, float], amount: int) -> dict[Name, int]:
    """Divide `amount` by shares into whole numbers that sum to it, by the largest remainder."""
    total = sum(shares.values())
    exact = {name: share / total * amount for name, share in shares.items()}
    parts = {name: int(value) for name, value in exact.items()}
    rest = sorted(exact, key=lambda name: (parts[name] - exact[name], name))
    for name in rest[: amount - sum(parts.values())]:
        parts[name] += 1
    return parts
