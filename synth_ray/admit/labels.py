"""Finds rows with the input of a kept row and another label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from synth_ray.dedup.fingerprint import word_counts
from synth_ray.dedup.hashing import U32, U64, Array
from synth_ray.dedup.index import NEW, Blockers, Decisions
from synth_ray.dedup.normalise import FIELD
from synth_ray.dedup.table import GrowableArray, Table

DigestTexts = Callable[[pa.Array], Array]

CONTRADICTS = -1.0
"""The similarity of an entry of `Blockers` that stands for a contradictory label."""

_CAP = 8  # inputs whose 48-bit keys are equal by chance


@dataclass(frozen=True, slots=True)
class Labelled:
    """The rows of a batch that have a label: their positions, and 128-bit digests (N×2) of their inputs and labels."""

    rows: Array
    inputs: Array
    labels: Array


class LabelConflicts:
    """The inputs of the kept rows, each with the label and the number of the first kept row that has it: 48 bytes an input.

    Law: a row contradicts the first kept row whose input is identical to its own by the normal form, where their labels are not.
    The first of the two is never flagged: nothing was known against it. A completion of at most `label_words` words is a label.
    """

    def __init__(self, label_words: int, digest_texts: DigestTexts) -> None:
        self._label_words, self._digest_texts = label_words, digest_texts
        self._table = Table()
        self._kept = GrowableArray(U64, width=4)  # the input's digest, half of the label's, the row's number

    @property
    def nbytes(self) -> int:
        return self._table.nbytes + self._kept.nbytes

    def __len__(self) -> int:
        return self._kept.length

    def entries(self, first: int) -> Array:
        """What was added from the entry `first` on, for `put`."""
        return self._kept.view[first:].copy()

    def put(self, entries: Array) -> None:
        """Add what another one's `entries` gave, in order."""
        places = np.arange(len(self), len(self) + len(entries), dtype=U32)
        self._kept.append(entries)
        self._table.insert(np.ascontiguousarray(entries[:, 0]), places, cap=_CAP)

    def read(self, staged: pa.Table) -> Labelled:
        """The labelled rows of a batch."""
        _, size = word_counts(staged["ngrams"])
        rows = np.flatnonzero((size > 0) & (size <= self._label_words))
        labelled = staged.select(["messages", "completion"]).take(pa.array(rows))
        inputs = [FIELD.join(turn["content"] or "" for turn in turns[:-1]) for turns in labelled["messages"].to_pylist()]
        labels = labelled["completion"].to_pylist()
        return Labelled(rows, *(self._digest_texts(pa.array(texts, pa.large_string())) for texts in (inputs, labels)))

    def blockers(self, labelled: Labelled, rows: int) -> Blockers:
        """For each of `rows` rows what it contradicts: a kept row, or each earlier row of the batch, if that one is kept."""
        contradicted: list[list[int]] = [[] for _ in range(rows)]
        earlier: dict[int, list[int]] = {}
        known = self._known(labelled)
        for at, row in enumerate(labelled.rows.tolist()):
            if known[at] >= 0:
                entry = self._kept.array[known[at]]
                contradicted[row] += [int(entry[3])] if entry[2] != labelled.labels[at, 0] else []
                continue
            others = earlier.setdefault(int(labelled.inputs[at, 0]), [])
            contradicted[row] += [-1 - int(labelled.rows[other]) for other in others if _contradict(labelled, other, at)]
            others.append(at)
        counts = [len(by) for by in contradicted]
        blocker = np.array([by for row in contradicted for by in row], np.int64)
        return Blockers(np.concatenate(([0], np.cumsum(counts, dtype=np.int64))), blocker, np.full(len(blocker), CONTRADICTS))

    def keep(self, labelled: Labelled, decisions: Decisions) -> list[tuple[int, int]]:
        """Add the inputs of the rows that were kept; returns each contradiction: a row, and the number of the kept row."""
        found = []
        known, added = self._known(labelled), dict[tuple[int, int], int]()
        for at, row in enumerate(labelled.rows.tolist()):
            name = (int(labelled.inputs[at, 0]), int(labelled.inputs[at, 1]))
            entry = int(known[at]) if known[at] >= 0 else added.get(name)
            label = labelled.labels[at, 0]
            if entry is not None:
                _, _, first_label, number = self._kept.array[entry]
                found += [(row, int(number))] if first_label != label else []
            elif decisions.code[row] == NEW:
                added[name] = self._kept.length
                self._kept.append(np.array([[*name, label, decisions.number[row]]], U64))
        keys = np.array([key for key, _ in added], U64)
        self._table.insert(keys, np.array(list(added.values()), U32), cap=_CAP)
        return found

    def _known(self, labelled: Labelled) -> Array:
        """For each labelled row, the place in `_kept` of its input, else -1."""
        known = np.full(len(labelled.rows), -1, np.int64)
        at, entries = self._table.lookup(np.ascontiguousarray(labelled.inputs[:, 0]))
        same = self._kept.array[entries, 1] == labelled.inputs[at, 1]
        known[at[same]] = entries[same]
        return known


def _contradict(labelled: Labelled, one: int, other: int) -> bool:
    return bool(labelled.inputs[one, 1] == labelled.inputs[other, 1] and labelled.labels[one, 0] != labelled.labels[other, 0])
