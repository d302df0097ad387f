"""Finds rows with the input of a kept row and another label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from synth_ray.dedup.fingerprint import word_counts
from synth_ray.dedup.hashing import U64, Array
from synth_ray.dedup.index import NEW, Blockers, Decisions
from synth_ray.dedup.label_store import NO_ROW, MemoryLabels
from synth_ray.dedup.normalise import FIELD
from synth_ray.dedup.stores import LabelStore

DigestTexts = Callable[[pa.Array], Array]

CONTRADICTS = -1.0
"""The similarity of an entry of `Blockers` that stands for a contradictory label."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """The rows of a batch that have a label: their positions, 128-bit digests (N×2) of their inputs and labels, and what kept
    rows have for these inputs (see `stores.LabelStore.find`).
    """

    rows: Array
    inputs: Array
    labels: Array
    known: Array


class Kept(NamedTuple):
    """Each contradiction found, a row and the number of the kept row; and the entries that were added."""

    contradictions: list[tuple[int, int]]
    entries: Array


class LabelConflicts:
    """The inputs of the kept rows in `store`, each with the label and the number of the first kept row that has it.

    Law: a row contradicts the first kept row whose input is identical to its own by the normal form, where their labels are not.
    The first of the two is never flagged: nothing was known against it. A completion of at most `label_words` words is a label.
    """

    def __init__(self, label_words: int, digest_texts: DigestTexts, store: LabelStore | None = None) -> None:
        self._label_words, self._digest_texts = label_words, digest_texts
        self._store = store if store is not None else MemoryLabels()

    def put(self, entries: Array) -> None:
        """Add what another one's `keep` added, in order."""
        self._store.append(entries)

    def read(self, staged: pa.Table) -> Labelled:
        """The labelled rows of a batch, and what is known of their inputs until something is kept."""
        _, size = word_counts(staged["ngrams"])
        rows = np.flatnonzero((size > 0) & (size <= self._label_words))
        labelled = staged.select(["messages", "completion"]).take(pa.array(rows))
        inputs = [FIELD.join(turn["content"] or "" for turn in turns[:-1]) for turns in labelled["messages"].to_pylist()]
        labels = labelled["completion"].to_pylist()
        of_inputs, of_labels = (self._digest_texts(pa.array(texts, pa.large_string())) for texts in (inputs, labels))
        return Labelled(rows, of_inputs, of_labels, self._store.find(of_inputs))

    def blockers(self, labelled: Labelled, rows: int) -> Blockers:
        """For each of `rows` rows what it contradicts: a kept row, or each earlier row of the batch, if that one is kept."""
        contradicted: list[list[int]] = [[] for _ in range(rows)]
        earlier: dict[int, list[int]] = {}
        for at, row in enumerate(labelled.rows.tolist()):
            label, number = labelled.known[at]
            if number != NO_ROW:
                contradicted[row] += [int(number)] if label != labelled.labels[at, 0] else []
                continue
            others = earlier.setdefault(int(labelled.inputs[at, 0]), [])
            contradicted[row] += [-1 - int(labelled.rows[other]) for other in others if _contradict(labelled, other, at)]
            others.append(at)
        counts = [len(by) for by in contradicted]
        blocker = np.array([by for row in contradicted for by in row], np.int64)
        return Blockers(np.concatenate(([0], np.cumsum(counts, dtype=np.int64))), blocker, np.full(len(blocker), CONTRADICTS))

    def keep(self, labelled: Labelled, decisions: Decisions) -> Kept:
        """Add the inputs of the rows that were kept."""
        found, added = [], dict[tuple[int, int], tuple[int, int]]()
        for at, row in enumerate(labelled.rows.tolist()):
            name = (int(labelled.inputs[at, 0]), int(labelled.inputs[at, 1]))
            known, own = labelled.known[at], int(labelled.labels[at, 0])
            entry = (int(known[0]), int(known[1])) if known[1] != NO_ROW else added.get(name)
            if entry is not None:
                found += [(row, entry[1])] if entry[0] != own else []
            elif decisions.code[row] == NEW:
                added[name] = own, int(decisions.number[row])
        entries = np.array([(*name, *entry) for name, entry in added.items()], U64).reshape(-1, 4)
        if len(entries):
            self._store.append(entries)
        return Kept(found, entries)


def _contradict(labelled: Labelled, one: int, other: int) -> bool:
    return bool(labelled.inputs[one, 1] == labelled.inputs[other, 1] and labelled.labels[one, 0] != labelled.labels[other, 0])
