"""Arrow buffers as numpy arrays and back, without copies where possible."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from synth_ray.dedup.hashing import U8, Array


def texts_in(texts: pa.Array | pa.ChunkedArray) -> tuple[pa.Array, Array, Array]:
    """One large_string array, its bytes, and its N+1 offsets into them. A null is an empty text."""
    array = one_array(texts, pa.large_string())
    if not pa.types.is_large_string(array.type):
        array = array.cast(pa.large_string())
    if array.null_count:
        array = array.fill_null("")
    return array, *_buffers(array)


def one_array(column: pa.Array | pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _buffers(array: pa.Array) -> tuple[Array, Array]:
    """Bytes and N+1 offsets of a large_string or large_binary array."""
    _, ends, data = array.buffers()
    offsets = np.frombuffer(ends, np.int64)[array.offset : array.offset + len(array) + 1] if ends else np.zeros(1, np.int64)
    return (np.frombuffer(data, U8) if data is not None else np.zeros(0, U8)), offsets


def binary_column(values: Array, offsets: Array) -> pa.Array:
    """Runs of values as packed little-endian bytes. Raises ValueError past 2 GiB, which one chunk never holds."""
    ends = offsets * values.itemsize
    if len(ends) and ends[-1] >= 2**31:
        raise ValueError(f"a binary column: wanted less than 2 GiB, got {ends[-1]} bytes; stage smaller chunks")
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    buffers = [None, pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(little)]
    return pa.BinaryArray.from_buffers(pa.binary(), len(ends) - 1, buffers)


def runs_in(column: pa.Array | pa.ChunkedArray, kind: Any) -> tuple[Array, Array]:
    """Unpack `binary_column`: the values of every row and N+1 offsets into them. A null is an empty run."""
    array = one_array(column, pa.binary()).cast(pa.large_binary())
    if array.null_count:
        array = array.fill_null(b"")
    data, offsets = _buffers(array)
    size = np.dtype(kind).itemsize
    first, last = (int(offsets[0]), int(offsets[-1])) if len(offsets) else (0, 0)
    return np.frombuffer(data[first:last], kind), (offsets - first) // size


def words16_in(column: pa.Array | pa.ChunkedArray) -> Array:
    """A binary(16) column as N×2 uint64."""
    array = one_array(column, pa.binary(16))
    data = array.buffers()[1]
    if data is None:
        return np.zeros((0, 2), np.uint64)
    return np.frombuffer(data, np.uint64)[2 * array.offset : 2 * (array.offset + len(array))].reshape(-1, 2)
