"""Predicts how long a request's answer will be, from those that ended: the basis of longest-first order."""

from __future__ import annotations

from collections.abc import Iterable
from math import log2

from synth_ray.records import Request

_MIN_PER_SIZE = 8
_MAX_ERROR_RATIO = 0.95  # of the mean's squared error; above it, sorting by prediction is no better than shuffling
_MAX_SEEDS = 65_536


class Mean:
    """A running mean and the number of values in it."""

    __slots__ = ("count", "value")

    def __init__(self) -> None:
        self.count = 0
        self.value = 0.0

    def add(self, value: float) -> None:
        self.count += 1
        self.value += (value - self.value) / self.count


class LengthPredictor:
    """Expected completion tokens of a request: the mean of its own seed if that was asked before, else of seeds of similar size.

    Predictions only affect scheduling order, never results. `beats_mean`: lower squared error than the running mean, measured out
    of sample, on each request before it was learned.
    """

    def __init__(self) -> None:
        self._error = self._error_of_mean = 0.0
        self._all = Mean()
        self._by_size: dict[int, Mean] = {}
        self._by_seed: dict[str, Mean] = {}

    @property
    def observations(self) -> int:
        """How many requests it has learned from."""
        return self._all.count

    @property
    def beats_mean(self) -> bool:
        return self._error < _MAX_ERROR_RATIO * self._error_of_mean

    def predict(self, request: Request) -> float:
        return self._predict(request.seed.id, _size(request))

    def _predict(self, seed: str, size: int) -> float:
        if (own := self._by_seed.get(seed)) is not None:
            return own.value
        alike = self._by_size.get(size)
        return alike.value if alike is not None and alike.count >= _MIN_PER_SIZE else self._all.value

    def observe(self, ended: Iterable[tuple[Request, float]]) -> None:
        """Learn from requests and their completion tokens."""
        for request, tokens in ended:
            seed, size = request.seed.id, _size(request)
            if self._all.count:
                self._error += (tokens - self._predict(seed, size)) ** 2
                self._error_of_mean += (tokens - self._all.value) ** 2
            self._all.add(tokens)
            if (alike := self._by_size.get(size)) is None:
                alike = self._by_size[size] = Mean()
            alike.add(tokens)
            if (own := self._by_seed.get(seed)) is None and len(self._by_seed) < _MAX_SEEDS:
                own = self._by_seed[seed] = Mean()
            if own is not None:
                own.add(tokens)


def _size(request: Request) -> int:
    """The seed's size: log2 of its characters, in half steps."""
    characters = 1
    for value in request.seed.fields.values():
        if isinstance(value, str):
            characters += len(value)
    return round(2 * log2(characters))
