"""The search of cells, compiled. Sums of products are whole numbers, so no result depends on their order or on the machine."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np

from synth_ray.dedup.kernel_types import COMPILED, F64S, INLINED, U32S, UNCOUNTED, tuple_type

BLOCK_IDS = 32
NO_BLOCK = -1

_F32_ROWS = nb.types.Array(nb.f4, 2, "C", readonly=True)
_F64_ROWS = nb.types.Array(nb.f8, 2, "C", readonly=True)
_I8_ROWS = nb.types.Array(nb.i1, 2, "C", readonly=True)
_I32S = nb.types.Array(nb.i4, 1, "C", readonly=True)
_I32_ROWS = nb.types.Array(nb.i4, 2, "C", readonly=True)
_I64_OUT = nb.types.Array(nb.i8, 1, "C")
_I32_OUT = nb.types.Array(nb.i4, 1, "C")
_I32_ROWS_OUT = nb.types.Array(nb.i4, 2, "C")


class Lists(NamedTuple):
    """The places of the kept vectors by cell: `last[cell]` is its last block or NO_BLOCK, of which `filled[cell]` ids are taken;
    `previous[block]` is the block before, and full. Without any `ids` the vectors themselves lie block after block.
    """

    ids: Any
    previous: Any
    last: Any
    filled: Any


class Found(NamedTuple):
    """Pairs found, with room for as many as there may be: the row, the place of the kept vector, and their product."""

    row: Any
    place: Any
    product: Any


class Vectors(NamedTuple):
    """The kept vectors and their norms."""

    rows: Any
    norms: Any


class New(NamedTuple):
    """(row, cell) pairs to look up, and the vectors and norms of the rows."""

    rows: Any
    cells: Any
    vectors: Any
    norms: Any


class Stored(NamedTuple):
    """Kept vectors by their places, with their numbers and norms."""

    vectors: Any
    numbers: Any
    norms: Any


class Blocks(NamedTuple):
    """As in `Lists`, where vectors lie block after block."""

    previous: Any
    last: Any
    filled: Any


_VECTORS = tuple_type(Vectors, _I8_ROWS, F64S)
_LISTS = tuple_type(Lists, _I32_ROWS, _I32S, _I32S, _I32S)
_OWN_LISTS = tuple_type(Lists, _I32_ROWS_OUT, _I32_OUT, _I32_OUT, _I32_OUT)
_NEW = tuple_type(New, _I32S, _I32S, _F64_ROWS, F64S)
_STORED = tuple_type(Stored, _I8_ROWS, U32S, F64S)
_OWN_STORED = tuple_type(Stored, nb.types.Array(nb.i1, 2, "C"), nb.types.Array(nb.u4, 1, "C"), nb.types.Array(nb.f8, 1, "C"))
_BLOCKS = tuple_type(Blocks, _I32_OUT, _I32_OUT, _I32_OUT)
_FOUND = tuple_type(Found, _I64_OUT, _I64_OUT, _I64_OUT)


@nb.njit(nb.void(_F32_ROWS, F64S, _I32_ROWS_OUT), **COMPILED)  # type: ignore[misc]
def nearest_cells(products: Any, norms: Any, out: Any) -> None:
    """The nearest cells of each row, the nearest first, and of equally near ones the first."""
    wanted = out.shape[1]
    best = np.empty(wanted, np.float64)
    for row in range(products.shape[0]):
        best[:] = -np.inf
        out[row, :] = 0
        for cell in range(products.shape[1]):
            value = products[row, cell] / norms[cell]
            if value <= best[wanted - 1]:
                continue
            at = wanted - 1
            while at > 0 and best[at - 1] < value:
                best[at] = best[at - 1]
                out[row, at] = out[row, at - 1]
                at -= 1
            best[at] = value
            out[row, at] = cell


@nb.njit(nb.i8(_OWN_LISTS, nb.i8, _I32S, nb.i8), **UNCOUNTED)  # type: ignore[misc]
def add_places(lists: Any, blocks: Any, cells: Any, first: Any) -> Any:
    """Add the places from `first` on to their cells. Returns the number of blocks; there must be room for one more a place."""
    for at in range(len(cells)):
        cell = cells[at]
        if lists.last[cell] == NO_BLOCK or lists.filled[cell] == BLOCK_IDS:
            lists.previous[blocks] = lists.last[cell]
            lists.last[cell] = blocks
            lists.filled[cell] = 0
            blocks += 1
        lists.ids[lists.last[cell], lists.filled[cell]] = first + at
        lists.filled[cell] += 1
    return blocks


@nb.njit(fastmath={"reassoc", "contract"}, **INLINED)  # type: ignore[misc]
def _product(new: Any, row: Any, kept: Any, place: Any) -> Any:
    """Any order of summation gives this sum, so several products may be summed at a time."""
    total = 0.0
    for d in range(new.shape[1]):
        total += new[row, d] * np.float64(kept[place, d])
    return total


@nb.njit(nb.i8(_LISTS, _NEW, _VECTORS, nb.f8, _FOUND), **UNCOUNTED)  # type: ignore[misc]
def near_in_cells(lists: Any, new: Any, kept: Any, threshold: Any, found: Any) -> Any:
    """Find the kept vectors in the cell of each pair that are near its row. Returns how many there are: where that is more than
    there is room for, only the first are in `found`.
    """
    count = 0
    for pair in range(len(new.rows)):
        row = new.rows[pair]
        block = lists.last[new.cells[pair]]
        ids = lists.filled[new.cells[pair]]
        while block != NO_BLOCK:
            for at in range(ids):
                place = lists.ids[block, at] if len(lists.ids) else block * BLOCK_IDS + at
                product = _product(new.vectors, row, kept.rows, place)
                if product >= threshold * (new.norms[row] * kept.norms[place]):
                    if count < len(found.row):
                        found.row[count], found.place[count], found.product[count] = row, place, np.int64(product)
                    count += 1
            block = lists.previous[block]
            ids = BLOCK_IDS
    return count


@nb.njit(**INLINED)  # type: ignore[misc]
def _copy(source: Any, place: Any, target: Any, to: Any) -> None:
    for d in range(source.vectors.shape[1]):
        target.vectors[to, d] = source.vectors[place, d]
    target.numbers[to] = source.numbers[place]
    target.norms[to] = source.norms[place]


@nb.njit(nb.i8(_I32S, _STORED, _OWN_STORED, _BLOCKS, nb.i8, _OWN_STORED), **UNCOUNTED)  # type: ignore[misc]
def fill_blocks(cells: Any, new: Any, open_: Any, blocks: Any, first: Any, full: Any) -> Any:
    """Add each row to the open block of its cell. Blocks that become full are moved to `full`, which has room for them, and are
    numbered from `first` on. Returns their number.
    """
    done = 0
    for row in range(len(cells)):
        cell = cells[row]
        _copy(new, row, open_, cell * BLOCK_IDS + blocks.filled[cell])
        blocks.filled[cell] += 1
        if blocks.filled[cell] == BLOCK_IDS:
            for at in range(BLOCK_IDS):
                _copy(open_, cell * BLOCK_IDS + at, full, done * BLOCK_IDS + at)
            blocks.previous[first + done] = blocks.last[cell]
            blocks.last[cell] = first + done
            blocks.filled[cell] = 0
            done += 1
    return done


__all__ = [
    *("BLOCK_IDS", "NO_BLOCK", "Blocks", "Found", "Lists", "New", "Stored", "Vectors"),
    *("add_places", "fill_blocks", "near_in_cells", "nearest_cells"),
]
