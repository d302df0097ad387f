"""Several answers to one question, made one: the most frequent, and how many agreed.

Self-consistency (Wang et al., 2022, arXiv 2203.11171). Law: an answer that did not parse is a vote for nothing, not a vote
less; so agreement is a share of all votes, and a tie goes to the answer that `order`, then the first vote, puts first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Majority:
    """`winner` is the place of the winning answer's first vote; `agreement` the share of all votes that it won."""

    winner: int
    agreement: float
    counts: dict[str, int]


def majority(labels: Sequence[str | None], order: Sequence[str] = ()) -> Majority | None:
    """The outcome, or None when no answer parsed. None in `said` is an answer that did not."""
    counts = Counter(label for label in labels if label is not None)
    if not counts:
        return None
    rank = {label: place for place, label in enumerate(order)}
    best = min(counts, key=lambda label: (-counts[label], rank.get(label, len(rank)), labels.index(label)))
    return Majority(labels.index(best), counts[best] / len(labels), dict(sorted(counts.items())))
