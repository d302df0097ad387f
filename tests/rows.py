"""Staged rows generated from numbers, so that a test knows the expected values."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from synth_ray.records import SPLITS, STAGED, digest


def staged_row(number: int, *, chunk: int = 0, **changes: Any) -> dict[str, Any]:
    seed = digest("seed", number, size=8)
    prompt, completion = f"question {number}", f"answer {number} " + "word " * (number % 7)
    row = {
        "id": digest("row", chunk, number),
        "request": digest("request", chunk, number),
        "seed": seed,
        "lineage": seed,
        "chunk": chunk,
        "position": number,
        "slot": 0,
        "split": SPLITS[0] if number % 5 else SPLITS[1],
        "origin": "synthetic",
        "depth": 1,
        "messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": completion}],
        "prompt": prompt,
        "completion": completion,
        "fields": f'{{"label":"{"ab"[number % 2]}","n":{number}}}',
        "prompt_digest": digest(prompt),
        "finish_reason": "stop",
        "prompt_tokens": 2,
        "completion_tokens": 3,
        "reason": None,
        "flags": [],
        "pii": [],
        "digest": number.to_bytes(16, "big"),
        "bands": b"",
        "shingles": b"",
        "ngrams": b"",
    }
    return row | changes


def staged_chunk(chunk: int, rows: int = 8, **changes: Any) -> pa.Table:
    return pa.Table.from_pylist([staged_row(n, chunk=chunk, **changes) for n in range(rows)], schema=STAGED)
