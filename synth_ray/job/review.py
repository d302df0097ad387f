"""What people found when they looked at rows."""

from __future__ import annotations

from typing import Annotated

from synth_ray.job.section import OneOrMore, Section, key


class Review(Section):
    """Verdicts of people on rows that `synth-ray sample` drew. `synth-ray curate` leaves out what they rejected."""

    verdicts: Annotated[list[str], OneOrMore] = key(
        list,
        "Filled-in forms: CSV, JSONL or Argilla records. A row that most of its reviewers rejected is rejected_by_people.",
        changes="admit",
    )
