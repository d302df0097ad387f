"""The likeliest tokens of every position, as columns that any reader of Parquet takes: packed bytes become flat lists.

Law: no value is converted or copied one by one; a row without them has null in every column.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from synth_ray.records import TOP_K

_IDS, _HALVES = pa.list_(pa.uint32()), pa.list_(pa.float16())
_PARTS = {"prompt_ids": "prompt", "answer_ids": "answer", "top_k_ids": "ids", "top_k_logprobs": "logprobs", "tail_mass": "tail"}
TOP_K_COLUMNS = dict(zip(_PARTS, (_IDS, _IDS, _IDS, _HALVES, _HALVES), strict=True))
"""Token ids of the rendered prompt and of the answer; ids and log-probabilities of the k likeliest tokens at each position of the
answer, one position after the other and the likeliest first; and for each position the probability of all other tokens.
"""


def top_k_columns(packed: Any) -> dict[str, pa.ChunkedArray]:
    """The published columns of a staged column `top_k`."""
    chunks = [_lists(chunk) for chunk in packed.chunks]
    return {name: pa.chunked_array([lists[name] for lists in chunks], kind) for name, kind in TOP_K_COLUMNS.items()}


def _lists(chunk: Any) -> dict[str, Any]:
    parts = dict(zip(TOP_K.names, chunk.flatten(), strict=True))
    return {name: _list_of(parts[part], TOP_K_COLUMNS[name]) for name, part in _PARTS.items()}


def _list_of(packed: Any, kind: pa.ListType) -> Any:
    """Lists over the same memory as the bytes: an offset in bytes over the width is one in values."""
    width = kind.value_type.bit_width // 8
    _, _, data = packed.buffers()
    offsets = np.frombuffer(packed.buffers()[1], np.int32)[packed.offset : packed.offset + len(packed) + 1]
    used = int(offsets[-1])
    values = pa.Array.from_buffers(kind.value_type, used // width, [None, data if data is not None else pa.py_buffer(b"")])
    mask = packed.is_null() if packed.null_count else None
    return pa.ListArray.from_arrays(pa.array(offsets // width, pa.int32()), values, type=kind, mask=mask)
