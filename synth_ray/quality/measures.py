"""The measures: what each says, from which value on it warns, and its definition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import synth_ray.quality.definitions as definitions
from synth_ray.quality.rows import Rows
from synth_ray.quality.subsets import Array, Sides

Measured = Callable[[Rows, Sides], Array]
"""The value of each pair of subsets."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure. Rows like the real ones have the value `like_real`, 1 or 0; `warn` and `fail` are on the narrower side.

    `compares`: the subsets compared, see `Rows.sides`. `few`: how many permutations and halves are drawn where one is expensive.
    """

    name: str
    meaning: str
    of: Measured
    like_real: Literal[0, 1]
    warn: float
    fail: float
    compares: Literal["rows", "matched", "blocks"] = "matched"
    few: tuple[int, int] | None = None

    @property
    def is_worse_above(self) -> bool:
        return self.fail > self.like_real

    def from_chance(self, value: float, chance: float) -> float:
        """The value relative to what chance gives, so that it is `like_real` for rows of the same kind."""
        if not self.like_real:
            return value - chance
        return value / chance if chance else 1.0

    def is_past(self, value: float, limit: float) -> bool:
        return value > limit if self.is_worse_above else value < limit


def _distinct(n: int, meaning: str, warn: float, fail: float) -> Measure:
    return Measure(f"distinct_{n}", meaning, partial(definitions.distinct, n=n), 1, warn, fail)


MEASURES: tuple[Measure, ...] = (
    Measure(
        "compression",
        "How much better the generated rows compress than real ones: above 1, they repeat themselves more.",
        definitions.compression, 1, 1.08, 1.15, compares="blocks",
    ),
    _distinct(1, "Share of different words, relative to real rows: below 1, the rows use fewer words.", 0.90, 0.80),
    _distinct(2, "Share of different word pairs, relative to real rows: below 1, the rows put words together in fewer ways.",
              0.93, 0.87),
    _distinct(3, "Share of different runs of three words, relative to real rows: below 1, phrases recur more often.", 0.94, 0.88),
    _distinct(4, "Share of different runs of four words, relative to real rows: below 1, phrases recur more often.", 0.95, 0.90),
    Measure(
        "entropy_1",
        "Information of the words, relative to real rows: below 1, fewer words make up more of the text.",
        partial(definitions.entropy, n=1), 1, 0.97, 0.94,
    ),
    Measure(
        "entropy_2",
        "Information of the word pairs, relative to real rows: below 1, fewer pairs make up more of the text.",
        partial(definitions.entropy, n=2), 1, 0.97, 0.94,
    ),
    Measure(
        "openers",
        "Share of rows that begin with one of the ten commonest openings of three words, beyond that of real rows.",
        definitions.openers, 0, 0.03, 0.06, compares="rows",
    ),
    Measure(
        "templates",
        "Share of rows that fill in a frame which many rows have, beyond that of real rows.",
        definitions.templates, 0, 0.03, 0.06, compares="rows",
    ),
    Measure(
        "repeats",
        "Share of rows of which half, in runs of four words, stands in another row too, beyond that of real rows.",
        definitions.repeats, 0, 0.03, 0.06, compares="rows",
    ),
    Measure(
        "long_runs",
        "Share of rows with a run of 20 words that stands in another row too, beyond that of real rows.",
        definitions.long_runs, 0, 0.03, 0.06,
    ),
    Measure(
        "vocabulary",
        "Divergence of the words used from those of real rows, in bits, beyond chance.",
        definitions.vocabulary, 0, 0.05, 0.15,
    ),
    Measure(
        "lengths",
        "Divergence of the lengths from those of real rows, in bits, beyond chance.",
        definitions.lengths, 0, 0.05, 0.15, compares="rows",
    ),
    Measure(
        "vendi",
        "Effective number of different meanings, relative to as many real rows: below 1, the rows say fewer things.",
        definitions.vendi, 1, 0.92, 0.85, few=(24, 12),
    ),
    Measure(
        "clusters",
        "Share of rows that would have to change topic for the topics to be as common as in real rows, beyond chance.",
        definitions.clusters, 0, 0.05, 0.10, compares="rows",
    ),
    Measure(
        "coverage",
        "Share of real rows with a generated row among their nearest, relative to chance: below 1, what they say is missing.",
        definitions.coverage, 1, 0.98, 0.95, compares="rows",
    ),
    Measure(
        "mauve",
        "Overlap of the two distributions (MAUVE), relative to that of real rows with each other: lower is further from real.",
        definitions.mauve, 1, 0.95, 0.85, compares="rows",
    ),
)  # fmt: skip
