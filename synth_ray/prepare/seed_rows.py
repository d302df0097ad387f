"""Seeds and real rows as staged rows, so that they can be scrubbed, fingerprinted and compared like them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from synth_ray.records import STAGED, Origin, Seed, canonical_json, digest


def real_rows(seeds: Iterable[Seed]) -> pa.Table:
    """Real evaluation rows as staged rows."""
    return pa.Table.from_pylist([_row(i, seed, digest("real", seed.id)) for i, seed in enumerate(seeds)], schema=STAGED)


def seed_rows(seeds: Iterable[Seed]) -> pa.Table:
    """Seeds as staged rows, under their own ids: the texts that rows must not repeat."""
    return pa.Table.from_pylist([_row(i, seed, seed.id) for i, seed in enumerate(seeds)], schema=STAGED)


def _row(position: int, seed: Seed, name: str) -> dict[str, Any]:
    prompt = str(seed.fields.get("prompt", ""))
    answer = str(seed.fields.get("answer", ""))
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    others = {k: v for k, v in seed.fields.items() if k not in ("prompt", "answer", "messages")}
    return {
        "id": name,
        "request": "",
        "seed": seed.id,
        "lineage": seed.lineage,
        "chunk": -1,
        "position": position,
        "slot": 0,
        "split": seed.split,
        "origin": Origin.REAL.value,
        "depth": seed.depth,
        "messages": messages,
        "prompt": prompt,
        "completion": answer,
        "fields": canonical_json(others).decode(),
        "prompt_digest": digest(messages[:1]),
        "finish_reason": "",
        "prompt_tokens": 0,
        "completion_tokens": 0,
    }
