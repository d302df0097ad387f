"""Chooses the rows that card and report show. Law: a function of the set of rows, whatever the chunks they come in.

In every stratum (accepted rows of one class, split and origin; rows of one reason; rows beside one threshold) the rows with the
smallest ids are taken, or those nearest to the threshold. Ids are digests, so this is a random choice that is always the same.
"""

from __future__ import annotations

import heapq
from bisect import insort
from collections import Counter
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any

import numpy as np

from synth_ray.dataset.examples import Examples
from synth_ray.publish.edges import Edge
from synth_ray.publish.row_view import RowView
from synth_ray.quality.profile import GROUPS, REFERENCE
from synth_ray.quality.value_counts import Array
from synth_ray.records import Verdict

ACCEPTED, PER_REASON, EDGES = 10, 3, 12
_CLASSES, _PER_CLASS, _PER_SIDE = 10, 10, 2
_CELLS = REFERENCE + 1

Row = dict[str, Any]


class Smallest:
    """The `most` rows with the smallest (rank, id). They are read from their chunk when the chunk ends (`read`)."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._has_new = False
        self._entries: list[tuple[float, str, float, RowView | None, Any]] = []  # rank, id, value, chunk, row

    def offer(self, view: RowView, row: int, rank: float = 0.0, value: float = 0.0) -> None:
        entry = (rank, view.id_of(row), value, view, row)
        if len(self._entries) < self._most or entry[:2] < self._entries[-1][:2]:
            self._has_new = True
            insort(self._entries, entry, key=lambda other: other[:2])
            del self._entries[self._most :]

    @property
    def new_rows(self) -> list[int]:
        """The places of the rows offered since the last `read` that are among the smallest."""
        return [row for *_, view, row in self._entries if view is not None] if self._has_new else []

    def read(self, shown: Mapping[int, Row]) -> None:
        """Take those rows, by their places, so that the memory of their chunk is free."""
        self._has_new = False
        self._entries = [(*e[:3], None, shown[e[4]] if e[3] is not None else e[4]) for e in self._entries]

    @property
    def bar(self) -> int:
        """The first eight bytes, as a number, of the largest id that a row of the same rank may have to be taken."""
        return int(self._entries[-1][1][:16], 16) if len(self._entries) == self._most else 2**64 - 1

    @property
    def worst(self) -> float:
        return self._entries[-1][0] if len(self._entries) == self._most else np.inf

    @property
    def measured(self) -> list[tuple[float, Row]]:
        """(value, row), the smallest rank first."""
        return [(value, row) for _, _, value, _, row in self._entries]

    @property
    def rows(self) -> list[Row]:
        return [row for *_, row in self._entries]


class _Cell:
    """Rows of one origin and split: the classes whose names have the smallest hashes, with some rows of each."""

    def __init__(self) -> None:
        self.classes: dict[str, Smallest] = {}
        self._heap: list[tuple[int, str]] = []

    def of_class(self, label: str) -> Smallest | None:
        """The rows of a class; None of a class that is not among those shown."""
        if label in self.classes:
            return self.classes[label]
        entry = (-int.from_bytes(blake2b(label.encode("utf-8", "backslashreplace"), digest_size=8).digest()), label)
        if len(self.classes) < _CLASSES:
            heapq.heappush(self._heap, entry)
        elif entry > self._heap[0]:
            _, evicted = heapq.heapreplace(self._heap, entry)
            del self.classes[evicted]
        else:
            return None
        return self.classes.setdefault(label, Smallest(_PER_CLASS))


class ExampleChooser:
    """Collects candidates chunk by chunk; `examples` then chooses among them."""

    KEEPS = ("_cells", "_reasons", "_sides")

    def __init__(self, edges: list[Edge]) -> None:
        self._cells: dict[int, _Cell] = {}
        self._reasons: dict[str, Smallest] = {}
        self._edges = edges
        self._sides = [(Smallest(_PER_SIDE), Smallest(_PER_SIDE)) for _ in edges]

    def add(self, view: RowView) -> None:
        """Rows with their verdicts, or real rows that are kept whatever they are."""
        self._add_accepted(view)
        codes, names = view.outcomes
        for code, (verdict, reason) in enumerate(names):
            if verdict != Verdict.ACCEPTED.value:
                self._add_rejected(view, reason, codes == code)
        for edge, sides in zip(self._edges, self._sides, strict=True):
            _offer_nearest(view, edge, sides)
        new = [(chosen, chosen.new_rows) for chosen in self._all()]
        rows = sorted({row for _, own in new for row in own})
        shown = dict(zip(rows, view.examples(rows), strict=True)) if rows else {}
        for chosen, own in new:
            if own:
                chosen.read(shown)

    def _add_accepted(self, view: RowView) -> None:
        """Offer the rows whose ids are small enough for their stratum: of a long run only few. A rejected row opens no class."""
        accepted = np.flatnonzero(view.accepted)
        labels = [*view.labels.dictionary.to_pylist(), None]
        codes = np.asarray(view.labels.indices.fill_null(len(labels) - 1)).astype(np.int64)[accepted]
        strata, place = np.unique(codes * _CELLS + view.cells[accepted], return_inverse=True)
        bars = [self._bar(stratum % _CELLS, labels[stratum // _CELLS]) for stratum in strata.tolist()]
        may_enter = view.id_numbers[accepted] <= np.array(bars, np.uint64)[place]
        for at in np.flatnonzero(may_enter).tolist():
            row = int(accepted[at])
            rows = self._cells[int(view.cells[row])].of_class(labels[codes[at]] or "")
            if rows is not None:
                rows.offer(view, row)

    def _add_rejected(self, view: RowView, reason: str, chosen: Array) -> None:
        rows = self._reasons.setdefault(reason, Smallest(PER_REASON)) if chosen.any() else None
        if rows is not None:
            for row in np.flatnonzero(chosen & (view.id_numbers <= np.uint64(rows.bar))).tolist():
                rows.offer(view, row)

    def _bar(self, cell: int, label: str | None) -> int:
        """The largest id, as a number, that a new row of this stratum may have."""
        rows = self._cells.setdefault(cell, _Cell()).of_class(label or "")
        return rows.bar if rows is not None else 0

    def _all(self) -> Iterator[Smallest]:
        for cell in self._cells.values():
            yield from cell.classes.values()
        yield from self._reasons.values()
        for sides in self._sides:
            yield from sides

    def examples(self) -> Examples:
        """The chosen rows; `witness` of each is still an id."""
        rejected = {reason: chosen.rows for reason, chosen in sorted(self._reasons.items())}
        return Examples(list(self._accepted()), rejected, self._nearest())

    def _accepted(self) -> Iterator[Row]:
        """Rows one by one, each time of the class and then of the split that was shown least; of real rows fewer."""
        pool = [
            (cell, row) for cell, own in sorted(self._cells.items()) for chosen in own.classes.values() for row in chosen.rows
        ]
        classes: Counter[str] = Counter()
        cells: Counter[int] = Counter()
        for _ in range(min(ACCEPTED, len(pool))):
            best = min(pool, key=lambda entry: (classes[entry[1]["class"]], cells[entry[0]], entry[0], entry[1]["id"]))
            pool.remove(best)
            cell, row = best
            classes[row["class"]] += 1
            cells[cell] += 3 if cell in GROUPS["real"] else 1
            yield row

    def _nearest(self) -> list[dict[str, Any]]:
        """The nearest rejected and accepted row of each threshold, then the second nearest, as many as may be shown."""
        found = [
            (place, number, {"measure": edge.measure, "value": round(value, 6), "limit": edge.limit, "row": row})
            for number, (edge, sides) in enumerate(zip(self._edges, self._sides, strict=True))
            for side in sides
            for place, (value, row) in enumerate(side.measured)
        ]
        shown = sorted(found, key=lambda entry: entry[:2])[:EDGES]
        return [entry for *_, entry in sorted(shown, key=lambda e: (e[1], e[2]["value"], e[0]))]


def _offer_nearest(view: RowView, edge: Edge, sides: tuple[Smallest, Smallest]) -> None:
    """Offer the rows that the threshold rejected to the first side, the accepted ones to the second."""
    values = edge.values(view)
    distances = np.abs(values - edge.limit)
    for side, members in zip(sides, (~view.accepted, view.accepted), strict=True):
        mine = np.flatnonzero((distances <= side.worst) & members)
        for row in mine[np.lexsort((view.id_numbers[mine], distances[mine]))].tolist():
            if (distances[row], view.id_numbers[row]) > (side.worst, side.bar):
                break
            side.offer(view, row, float(distances[row]), float(values[row]))
