"""What a review says of the whole dataset, and how far its reviewers agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from synth_ray.check.agreement import Agreement, agreement_of
from synth_ray.review.verdicts import Reviewed
from synth_ray.verify.intervals import wilson


@dataclass(frozen=True, slots=True)
class AcceptRate:
    """The share of the dataset's rows that people would accept, with its 95 % interval, from `rows` reviewed rows."""

    rows: int
    rate: float
    low: float
    high: float


def accept_rate(verdicts: Iterable[Reviewed]) -> AcceptRate | None:
    """Each row weighs as many rows as it stands for. None without a verdict.

    The interval is Wilson's (1927) at the effective number of rows, the squared sum of the weights over the sum of their squares
    (Kish, 1965), as Korn and Graubard (1998) apply it to surveys.
    """
    counted = list(verdicts)
    total = sum(verdict.weight for verdict in counted)
    if not counted or not total:
        return None
    rate = sum(verdict.weight for verdict in counted if verdict.good) / total
    n = total**2 / sum(verdict.weight**2 for verdict in counted)
    return AcceptRate(len(counted), rate, *wilson(rate * n, n))


def agreement_between(reviews: Sequence[Sequence[Reviewed]]) -> Agreement | None:
    """Kappa of every two reviewers on the rows that both saw, pooled over the pairs; None without such a row."""
    pairs: Counter[tuple[bool, bool]] = Counter()
    for one, other in combinations([{verdict.id: verdict.good for verdict in reviewed} for reviewed in reviews], 2):
        pairs.update((one[name], other[name]) for name in one.keys() & other.keys())
    return agreement_of(pairs) if pairs else None


def agreement_with(scores: Mapping[str, bool], people: Mapping[str, Reviewed]) -> Agreement | None:
    """Kappa of the judge's verdicts, by id, and people's; None where they have no row in common."""
    pairs = Counter((scores[name], verdict.good) for name, verdict in people.items() if name in scores)
    return agreement_of(pairs) if pairs else None
