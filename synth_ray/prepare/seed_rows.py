"""Seeds and real rows as staged rows, so that they can be scrubbed, fingerprinted and compared like them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from synth_ray.recipes.seed_thoughts import thought_of_answer, without_thought
from synth_ray.records import STAGED, Origin, Seed, canonical_json, digest


def real_rows(seeds: Iterable[Seed], *, thoughts: bool = False) -> pa.Table:
    """Real rows as staged rows; with `thoughts`, what was thought before the answer is where a row has it."""
    rows = [_row(i, seed, digest("real", seed.id), thoughts=thoughts) for i, seed in enumerate(seeds)]
    return pa.Table.from_pylist(rows, schema=STAGED)


def seed_rows(seeds: Iterable[Seed]) -> pa.Table:
    """Seeds as staged rows, under their own ids: the texts that rows must not repeat."""
    return pa.Table.from_pylist([_row(i, seed, seed.id) for i, seed in enumerate(seeds)], schema=STAGED)


def _row(position: int, seed: Seed, name: str, *, thoughts: bool = False) -> dict[str, Any]:
    prompt = str(seed.fields.get("prompt", ""))
    answer = str(seed.fields.get("answer", ""))
    answer, thought = thought_of_answer(seed.fields, answer) if thoughts else (answer, "")
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer, "reasoning": thought or None}]
    others = {k: v for k, v in seed.fields.items() if k not in ("prompt", "answer", "messages")}
    others = without_thought(others, thought)
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
        "reasoning": thought or None,
        "fields": canonical_json(others).decode(),
        "prompt_digest": digest(messages[:1]),
        "finish_reason": "",
        "prompt_tokens": 0,
        "completion_tokens": 0,
    }
