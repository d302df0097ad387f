"""Places rows with their lineages in groups, compiled. The law is in `prepare.lineages.Lineages`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb

from synth_ray.dedup.kernel_types import I64S, UNCOUNTED, tuple_type

PLACED, CONFLICT, RESERVED = range(3)


class Rows(NamedTuple):
    """`lineages[i]` is the number of row i's lineage, `near[near_ends[i]:near_ends[i + 1]]` those of similar rows. `splits[i]` is
    the split of a group that row i begins, -1 where it is not drawn yet. `reserved`: the rows are real ones for evaluation.
    """

    lineages: Any
    near_ends: Any
    near: Any
    splits: Any
    reserved: bool


class Groups(NamedTuple):
    """By number of a lineage: its group, which is the number of the lineage that began it, or -1; and where the lineage began a
    group, that group's split and whether it is reserved.
    """

    group: Any
    split: Any
    reserved: Any


class Placed(NamedTuple):
    """Per row: its group, and PLACED, CONFLICT or RESERVED."""

    group: Any
    verdict: Any


_ROWS = tuple_type(Rows, I64S, I64S, I64S, nb.i1[::1], nb.b1)
_GROUPS = tuple_type(Groups, nb.i4[::1], nb.i1[::1], nb.i1[::1])
_PLACED = tuple_type(Placed, nb.i8[::1], nb.i1[::1])


@nb.njit
def _group_of(rows: Rows, groups: Groups, i: int) -> Any:
    """(first group near the row, first reserved one, whether groups of different splits are near); -1 for none."""
    first = reserved = -1
    is_mixed = False
    begin = rows.near_ends[i]
    for q in range(rows.near_ends[i + 1] - begin + 1):  # its own lineage comes first
        group = groups.group[rows.lineages[i] if q == 0 else rows.near[begin + q - 1]]
        if group < 0:
            continue
        if first < 0:
            first = group
        elif groups.split[group] != groups.split[first] or groups.reserved[group] != groups.reserved[first]:
            is_mixed = True
        if groups.reserved[group] and reserved < 0:
            reserved = group
    return first, reserved, is_mixed


@nb.njit(nb.i8(_ROWS, _GROUPS, _PLACED, nb.i8), **UNCOUNTED)
def place(rows: Rows, groups: Groups, out: Placed, row: int) -> int:
    """Place rows from `row` on. Returns the number of rows; or the row that begins a group whose split is not drawn yet."""
    for i in range(row, rows.lineages.size):
        lineage = rows.lineages[i]
        first, reserved, is_mixed = _group_of(rows, groups, i)
        if is_mixed and not rows.reserved:
            out.group[i] = reserved
            out.verdict[i] = RESERVED if reserved >= 0 else CONFLICT
            continue
        if first < 0:
            if rows.splits[i] < 0:
                return i
            first = lineage
            groups.split[lineage] = rows.splits[i]
            groups.reserved[lineage] = rows.reserved
        if groups.group[lineage] < 0:
            groups.group[lineage] = first
        group = groups.group[lineage]
        out.group[i] = group
        out.verdict[i] = RESERVED if groups.reserved[group] and not rows.reserved else PLACED
    return rows.lineages.size
