"""Majority vote over several answers to one question: the most frequent answer, and its share.

Self-consistency (Wang et al., 2022, arXiv 2203.11171). Law: an answer that did not parse is a vote for nothing and still counts
as a vote, so agreement is a share of all votes. A tie goes to the answer that comes first in `order`, then in the votes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Majority:
    """`winner` is the index of the first vote for the winning answer; `agreement` is its share of all votes."""

    winner: int
    agreement: float
    counts: dict[str, int]


def majority(labels: Sequence[str | None], order: Sequence[str] = ()) -> Majority | None:
    """Count the votes. None in `labels` is an answer that did not parse. Returns None if no answer parsed."""
    counts = Counter(label for label in labels if label is not None)
    if not counts:
        return None
    rank = {label: place for place, label in enumerate(order)}
    best = min(counts, key=lambda label: (-counts[label], rank.get(label, len(rank)), labels.index(label)))
    return Majority(labels.index(best), counts[best] / len(labels), dict(sorted(counts.items())))
