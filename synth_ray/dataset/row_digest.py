"""A digest and a size for every row, from its values alone: independent of the layout in Parquet or Arrow."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_PACKED = (pa.uint32(), pa.float16())
_SLICE_ROWS, _SLICE_BYTES = 4096, 2**27
"""Limits of a slice: they keep its joined text far below the 2 GiB of an Arrow string array."""


def digests_and_sizes(table: pa.Table) -> tuple[list[bytes], npt.NDArray[np.int64]]:
    """Per row: BLAKE2b (16 bytes) of its values in column order, and the number of bytes hashed.

    A value is encoded as a netstring, length:bytes; a list as its length and its values; null as '-'. So two different rows never
    have the same encoding. https://cr.yp.to/proto/netstrings.txt
    A list of packed numbers is one value: its bytes, little-endian.
    """
    digests: list[bytes] = []
    sizes = [np.zeros(0, np.int64)]
    step = max(1, min(_SLICE_ROWS, _SLICE_BYTES * table.num_rows // max(1, table.nbytes)))
    for start in range(0, table.num_rows, step):
        text = _rows_as_text(table.slice(start, step).combine_chunks())
        ends = np.frombuffer(text.buffers()[1], np.int32)[text.offset : text.offset + len(text) + 1]
        data = memoryview(text.buffers()[2]) if text.buffers()[2] is not None else memoryview(b"")
        digests += [hashlib.blake2b(data[a:b], digest_size=16).digest() for a, b in pairwise(ends)]
        sizes.append(np.diff(ends).astype(np.int64))
    return digests, np.concatenate(sizes)


def _rows_as_text(table: pa.Table) -> Any:
    columns = [_as_text(column.chunk(0) if column.num_chunks else pa.array([], column.type)) for column in table.columns]
    return _joined(columns)


def _joined(texts: list[Any]) -> Any:
    return pc.binary_join_element_wise(*map(_as_bytes, texts), b"")


def _as_bytes(array: Any) -> Any:
    """The same bytes without a copy: a cast of every column of every chunk takes longer than the digests."""
    return array if array.type == pa.binary() else array.view(pa.binary())


def _as_text(array: Any) -> Any:
    kind = array.type
    if array.null_count == len(array):
        return pa.repeat(pa.scalar(b"-", pa.binary()), len(array))
    if pa.types.is_list(kind):
        return _numbers_as_text(array) if kind.value_type in _PACKED else _list_as_text(array)
    if pa.types.is_struct(kind):
        return _or_null(array, _joined([_as_text(child) for child in array.flatten()]))
    if pa.types.is_floating(kind):
        array = array.cast(pa.float64()).view(pa.int64())
    if not (pa.types.is_string(kind) or pa.types.is_binary(kind)):
        array = array.cast(pa.string())
    data = _as_bytes(array)
    return _or_null(array, pc.binary_join_element_wise(_numerals(pc.binary_length(data)), data, b":"))


def _numerals(numbers: Any) -> Any:
    return _as_bytes(numbers.cast(pa.string()))


def _list_as_text(array: Any) -> Any:
    counts = pc.fill_null(pc.list_value_length(array), 0)
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts.to_numpy(zero_copy_only=False))]), pa.int32())
    values = pa.ListArray.from_arrays(offsets, _as_bytes(_as_text(array.flatten())))
    count = pc.binary_join_element_wise(_numerals(counts), b"[", b"")
    return _or_null(array, _joined([count, pc.binary_join(values, b"")]))


def _numbers_as_text(array: Any) -> Any:
    """The netstrings of lists of numbers of one width, whose bytes are not taken one by one."""
    width = array.type.value_type.bit_width // 8
    values = array.values
    offsets = np.asarray(array.offsets).astype(np.int64) * width
    whole = values.buffers()[1] if len(values) else pa.py_buffer(b"")
    data = pa.Array.from_buffers(
        pa.large_binary(), len(array), [None, pa.py_buffer(offsets), whole.slice(values.offset * width)]
    ).cast(pa.binary())
    return _or_null(array, pc.binary_join_element_wise(_numerals(pc.binary_length(data)), data, b":"))


def _or_null(array: Any, text: Any) -> Any:
    return text if not array.null_count else pc.if_else(array.is_valid(), text, pa.scalar(b"-", pa.binary()))
