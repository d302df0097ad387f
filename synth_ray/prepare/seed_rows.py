"""Seeds and real rows as staged rows, so that they can be scrubbed, fingerprinted and compared like them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from synth_ray.plan.seed_store import SeedStore
from synth_ray.recipes.seed_thoughts import thought_of_answer, without_thought
from synth_ray.records import SPLITS, STAGED, TRAIN, Origin, Seed, canonical_json, digest

_BATCH_ROWS = 4096


def real_rows(seeds: Iterable[Seed], *, thoughts: bool = False) -> pa.Table:
    """Real rows as staged rows; with `thoughts`, what was thought before the answer is where a row has it."""
    return _real_rows(seeds, first=0, thoughts=thoughts)


def _real_rows(seeds: Iterable[Seed], *, first: int, thoughts: bool) -> pa.Table:
    rows = [_row(i, seed, digest("real", seed.id), thoughts=thoughts) for i, seed in enumerate(seeds, first)]
    return pa.Table.from_pylist(rows, schema=STAGED)


class MixedRows:
    """The real rows of `mix`, on disk: those for evaluation first, each part in the order of its files."""

    def __init__(self, seeds: SeedStore, *, thoughts: bool) -> None:
        self._seeds, self._thoughts = seeds, thoughts
        self._order = np.argsort(seeds.splits == SPLITS.index(TRAIN), kind="stable")

    def __len__(self) -> int:
        return len(self._order)

    @property
    def digest(self) -> str:
        """Of the rows' ids, lineages and splits."""
        return self._seeds.digest

    @property
    def splits(self) -> set[str]:
        """Those that any of the rows is in."""
        return {SPLITS[code] for code in np.unique(self._seeds.splits).tolist()}

    def batches(self, size: int = _BATCH_ROWS) -> Iterator[pa.Table]:
        """The rows as staged rows, `size` at a time."""
        for start in range(0, len(self), size):
            seeds = self._seeds.take(self._order[start : start + size])
            yield _real_rows(seeds, first=start, thoughts=self._thoughts)

    def with_ids(self, ids: Collection[str]) -> pa.Table:
        """The rows that have one of these ids."""
        found = [i for i, name in enumerate(self._seeds.ids()) if digest("real", name) in ids]
        return _real_rows(self._seeds.take(found), first=0, thoughts=self._thoughts)


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
