"""A set of chunk numbers as runs: the chunks of ten million rows take a few pairs, not a set of numbers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator


class Ranges:
    """A set of integers as sorted, disjoint, half-open runs."""

    def __init__(self, numbers: Iterable[int] = ()) -> None:
        """`numbers` must ascend; repeats count once. Raises ValueError otherwise."""
        self._starts: list[int] = []
        self._ends: list[int] = []
        for number in numbers:
            if self._ends and number < self._ends[-1] - 1:
                raise ValueError("numbers must ascend")
            if not self._ends or number > self._ends[-1]:
                self._starts.append(number)
                self._ends.append(number + 1)
            else:
                self._ends[-1] = max(self._ends[-1], number + 1)

    @property
    def runs(self) -> list[tuple[int, int]]:
        return list(zip(self._starts, self._ends, strict=True))

    def __contains__(self, number: object) -> bool:
        if not isinstance(number, int):
            return False
        run = bisect_right(self._starts, number) - 1
        return run >= 0 and number < self._ends[run]

    def __iter__(self) -> Iterator[int]:
        for start, end in self.runs:
            yield from range(start, end)

    def __len__(self) -> int:
        return sum(self._ends) - sum(self._starts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ranges) and self.runs == other.runs

    def __repr__(self) -> str:
        return f"Ranges({self.runs})"
