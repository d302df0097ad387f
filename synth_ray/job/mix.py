"""Real rows that are published beside the synthetic ones."""

from __future__ import annotations

from typing import Annotated

from pydantic import field_validator

from synth_ray.job.section import OneOrMore, Section, key
from synth_ray.job.seeds import Source


class Mix(Section):
    """Real rows, with answers, that are published too. They are split as seeds are, and admitted before every synthetic row."""

    real: Annotated[list[Source], OneOrMore] = key(
        ..., "Where the real rows come from: one source or a list.", min_length=1, changes="admit"
    )
    max_synthetic_share: float | None = key(
        None, "Largest share of synthetic rows among all; beyond it they are rejected(over_quota).", gt=0, lt=1, changes="admit"
    )

    @field_validator("real")
    @classmethod
    def _is_real(cls, value: list[Source]) -> list[Source]:
        if any(source.origin != "real" for source in value):
            raise ValueError("wanted sources of origin real, got a synthetic one; name it under seeds")
        return value
