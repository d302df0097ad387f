"""How rows are divided between train, validation and test."""

from __future__ import annotations

from typing import Annotated

from pydantic import field_validator

from synth_ray.job.section import OneOrMore, Section, key
from synth_ray.job.seeds import Source
from synth_ray.records import SPLITS


class Split(Section):
    """All rows of a lineage are in one split, which is assigned before anything is asked."""

    fractions: dict[str, float] = key(
        lambda: {"train": 0.9, "validation": 0.05, "test": 0.05}, "Share of the lineages in each split; they sum to 1."
    )
    group_at: float | None = key(
        0.8, "Jaccard similarity of 3-grams from which two seeds are one lineage; null groups none.", gt=0, le=1
    )
    stratify: str = key(
        "",
        "Field of the seeds to stratify by: of each value's lineages every split has its fraction, to within two. By lot, not in "
        "the file's order.",
    )
    salt: str = key("synth_ray", "Another text gives another assignment of lineages to splits.")
    real: Annotated[list[Source], OneOrMore] = key(list, "Real rows, with answers, for the evaluation splits.", changes="admit")
    allow_synthetic_only_eval: bool = key(
        False, "Accept evaluation splits without a single real row; the card says so in bold.", changes="admit"
    )

    @field_validator("fractions")
    @classmethod
    def _sum_to_one(cls, value: dict[str, float]) -> dict[str, float]:
        unknown = sorted(set(value) - set(SPLITS))
        if unknown or any(share < 0 for share in value.values()):
            raise ValueError(f"wanted shares of {', '.join(SPLITS)}, got {', '.join(unknown) or 'a negative one'}")
        total = sum(value.values())
        if abs(total - 1.0) > 1e-9:
            shares = ", ".join(f"{name}={share:g}" for name, share in value.items())
            raise ValueError(f"wanted fractions that sum to 1.0, got {total:g} ({shares})")
        return {name: value.get(name, 0.0) for name in SPLITS}
