"""Divides rows into two halves that have no origin and no text in common, so that what is tested was not trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from synth_ray.quality.intervals import Array
from synth_ray.quality.sample import SampledRow
from synth_ray.quality.tokens import tokens


def in_order(rows: Sequence[SampledRow], most: int) -> list[SampledRow]:
    """The `most` rows with the smallest ids, in their order. Ids are digests, so it is a random sample."""
    return sorted(rows, key=lambda row: (row.id, row.text, row.label))[:most]


def groups_of(rows: Sequence[SampledRow]) -> Array:
    """The group of each row, as a number. Rows of one lineage are a group, and so are rows with the same words."""
    parents: dict[bytes, bytes] = {}

    def root(key: bytes) -> bytes:
        while (parent := parents.setdefault(key, key)) != key:
            parents[key] = key = parents.setdefault(parent, parent)
        return key

    keys = [b"origin " + (row.group or row.id).encode("utf-8", "surrogatepass") for row in rows]
    for row, key in zip(rows, keys, strict=True):
        if words := tokens(row.text):
            parents[root(b"words " + _digest(" ".join(words)))] = root(key)
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(root(key), len(numbers)) for key in keys], np.int64)


def half_of_groups(rows: Sequence[SampledRow], groups: Array) -> dict[int, bool]:
    """Whether a group is tested on. Every class is divided evenly; one with a single group is not tested on."""
    lots: dict[int, bytes] = {}
    for row, group in zip(rows, groups.tolist(), strict=True):
        lots[group] = min(lots.get(group, b"\xff"), _digest(row.id))
    is_tested: dict[int, bool] = {}
    trained, tested = Counter[str](), Counter[str]()
    order = sorted(range(len(rows)), key=lambda i: (lots[int(groups[i])], rows[i].id, i))
    for i in order:
        label = rows[i].label
        is_test = is_tested.setdefault(int(groups[i]), tested[label] < trained[label])
        (tested if is_test else trained)[label] += 1
    return is_tested


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
