"""Tests whether rows are nearer to the records that their teacher was shown than to held-out records.

Held-out records are of the same kind as shown ones, so rows made without memorising single records are equally often nearer to
either. If they are nearer to the shown side more often than chance allows, that is disclosure (the idea of arXiv 2606.16952). The
chance is a permutation test (Fisher, 1935): which records were held out was drawn by lineage, independently of their content, so
it is drawn again many times, and p is the share of draws in which the shown side wins by as many rows or more. Law: p is valid
however few records the rows are near to, because all rows near one record change sides together. Ties count for neither side. A
large p is no proof of privacy.
"""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np

from synth_ray.records import digest

Record = Mapping[str, Any]
LineageRecord = tuple[str, Record]
"""(lineage, record)."""
Array = np.ndarray[Any, Any]

MAX_SAMPLE = 2000
MIN_SAMPLE = 20
_DRAWS, _BATCH_DRAWS = 5_000, 500
_BUCKETS = 4096  # hash buckets for the words of a text; two words in one bucket count as equal


class DigestSample:
    """Bottom-k sample by digest: the same for any order of arrival."""

    KEEPS = ("_heap",)

    def __init__(self, max_size: int = MAX_SAMPLE) -> None:
        self._max_size = max_size
        self._heap: list[tuple[int, str, Any]] = []

    def add(self, name: str, value: Any) -> None:
        place = -int(digest("sample", name, size=8), 16)
        if len(self._heap) < self._max_size:
            heapq.heappush(self._heap, (place, name, value))
        elif place > self._heap[0][0]:
            heapq.heapreplace(self._heap, (place, name, value))

    @property
    def values(self) -> list[Any]:
        return [value for _, _, value in sorted(self._heap, key=lambda entry: -entry[0])]


def disclosure(
    rows: Sequence[Record], shown: Sequence[LineageRecord], held_out: Sequence[LineageRecord], kinds: Mapping[str, str]
) -> dict[str, Any]:
    """Count the rows nearer to each side, and test the difference (`p`). Empty if there are fewer than MIN_SAMPLE rows, shown or
    held-out records.
    """
    records = min(len(shown), len(held_out))
    if min(records, len(rows)) < MIN_SAMPLE:
        return {}
    pooled = [*shown[:records], *held_out[:records]]
    nearest = _nearest(rows, [record for _, record in pooled], kinds)
    to_shown, to_held_out = (int(n) for n in _count_nearer(nearest, np.arange(2 * records)[:, None] < records))
    return {
        "rows": len(rows),
        "records": records,
        "nearer_to_shown": to_shown,
        "nearer_to_held_out": to_held_out,
        "p": _p_value(nearest, [lineage for lineage, _ in pooled], to_shown - to_held_out),
    }


def _p_value(nearest: Array, lineages: Sequence[str], observed: int) -> float:
    """The share of draws of the shown side, the real one included, in which it wins by `observed` rows or more."""
    names, of = np.unique(lineages, return_inverse=True)
    is_shown = np.zeros(len(names), bool)
    is_shown[of[: len(of) // 2]] = True
    draw, at_least_observed = np.random.default_rng(0), 1
    for _ in range(_DRAWS // _BATCH_DRAWS):
        sides = draw.permuted(np.repeat(is_shown[:, None], _BATCH_DRAWS, axis=1), axis=0)[of]
        to_shown, to_held = _count_nearer(nearest, sides)
        at_least_observed += int(np.count_nonzero(to_shown - to_held >= observed))
    return at_least_observed / (1 + _DRAWS)


def _count_nearer(nearest: Array, sides: Array) -> tuple[Array, Array]:
    """For each draw: the number of rows whose nearest records are all on the shown side, and of rows with none of them there."""
    nearer = nearest @ sides.astype(np.float32)
    return np.count_nonzero(nearer == nearest.sum(1)[:, None], axis=0), np.count_nonzero(nearer == 0, axis=0)


def _nearest(rows: Sequence[Record], records: Sequence[Record], kinds: Mapping[str, str]) -> Array:
    """A matrix of rows by records, 1 at the most similar records of each row, by the mean similarity over the fields (Gower,
    1971).
    """
    alike = sum(
        _similarity([record.get(name) for record in rows], [record.get(name) for record in records], kind)
        for name, kind in kinds.items()
    )
    means = np.round(np.asarray(alike) / len(kinds), 6)
    nearest: Array = (means == means.max(axis=1, keepdims=True)).astype(np.float32)
    return nearest


def _similarity(left_values: list[Any], right_values: list[Any], kind: str) -> Array:
    if kind == "text":
        return _jaccard([_words(value) for value in left_values], [_words(value) for value in right_values])
    if kind == "category":
        codes = {value: n for n, value in enumerate({str(value) for value in (*left_values, *right_values)})}
        left, right = (np.array([codes[str(value)] for value in column]) for column in (left_values, right_values))
        same: Array = (left[:, None] == right[None, :]).astype(np.float32)
        return same
    left, right = (np.array([_number(value) for value in column], np.float64) for column in (left_values, right_values))
    span = np.nanmax(np.concatenate((left, right)), initial=0) - np.nanmin(np.concatenate((left, right)), initial=0)
    return np.nan_to_num(1 - np.abs(left[:, None] - right[None, :]) / (span or 1), nan=0.0).astype(np.float32)


def _number(value: Any) -> float:
    if isinstance(value, str):
        return float(date.fromisoformat(value).toordinal())
    return math.nan if value is None else float(value)


def _words(value: Any) -> Array:
    bag = np.zeros(_BUCKETS, np.float32)
    bag[[int(digest(word, size=4), 16) % _BUCKETS for word in set(re.findall(r"\w+", str(value or "").casefold()))]] = 1
    return bag


def _jaccard(left_bags: list[Array], right_bags: list[Array]) -> Array:
    left, right = np.stack(left_bags), np.stack(right_bags)
    both = left @ right.T
    either = left.sum(1)[:, None] + right.sum(1)[None, :] - both
    shared: Array = np.divide(both, either, out=np.zeros_like(both), where=either > 0)
    return shared
