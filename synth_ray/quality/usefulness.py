"""Whether generated rows help: what a model learns from them for real ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from synth_ray.quality.label_noise import label_noise
from synth_ray.quality.perplexity import perplexity
from synth_ray.quality.sample import SampledRow
from synth_ray.quality.train_on_synthetic import train_on_synthetic

Facts = dict[str, Any]

SHOWN = (
    "The real rows are the seeds. Rows made from a tested seed are left out, but seeds shown beside others as examples are not "
    "told apart, so this is kind to the generated rows; rows that no model saw, named in quality.reference, give a stricter one."
)


def usefulness(generated: Sequence[SampledRow], real: Sequence[SampledRow], *, are_seeds: bool) -> dict[str, Facts]:
    """The manifest's `tstr`, `perplexity` and `label_noise`; each has `not_measured`, a sentence, where it could not be, and
    `note` where what was measured is to be read with care. `are_seeds`: models were shown the real rows.
    """
    compared = {"tstr": train_on_synthetic(generated, real), "perplexity": perplexity(generated, real)}
    for facts in compared.values():
        if are_seeds and "not_measured" not in facts:
            facts["note"] = SHOWN
    return compared | {"label_noise": label_noise(generated)}
