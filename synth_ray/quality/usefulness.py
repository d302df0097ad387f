"""Whether generated rows help: what a model learns from them for real ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from synth_ray.quality.label_noise import label_noise
from synth_ray.quality.perplexity import perplexity
from synth_ray.quality.sample import SampledRow
from synth_ray.quality.train_on_synthetic import train_on_synthetic


def usefulness(generated: Sequence[SampledRow], real: Sequence[SampledRow]) -> dict[str, dict[str, Any]]:
    """The manifest's `tstr`, `perplexity` and `label_noise`; each has `not_measured`, a sentence, where it could not be."""
    return {
        "tstr": train_on_synthetic(generated, real),
        "perplexity": perplexity(generated, real),
        "label_noise": label_noise(generated),
    }
