"""The judge: a rubric that scores every answer, and a test of the judge against people's verdicts."""

from __future__ import annotations

from typing import Annotated

from pydantic import field_validator

from synth_ray.job.section import OneOrMore, Section, key
from synth_ray.job.seeds import Source

CRITERIA = {"correct": "free of errors", "helpful": "does what was asked", "clear": "easy to follow"}
_NAMES = ("{question}", "{answer}", "{criteria}")


class Judging(Section):
    """Scores of `models.judge` for every answer: 1 to 5 for each criterion, at temperature 0, or a reward model's reward, a
    classifier's probability of `label`, an embedding model's similarity of question and answer.

    Every run compares the judge's verdicts with those that people gave to the `gold` rows. With fewer than 50 such rows, or a
    kappa below 0.6, the scores are advice: they are columns of the dataset, and reject nothing.
    """

    criteria: dict[str, str] = key(lambda: dict(CRITERIA), "The rubric: criterion and its meaning.", min_length=1)
    template: str = key(
        "", "The judge's prompt, with {question}, {answer} and {criteria} in it. Left out, the built-in one.", changes="ask"
    )
    label: str = key("", "The label whose probability is the score, for a classifier.")
    min_score: float = key(
        4.0,
        "Score below which an answer is flagged poorly_judged: of a rubric the mean over the criteria, 1 to 5. A judge with a "
        "`task` has a scale of its own, so that it has to be given.",
        changes="stage",
    )
    gold: Annotated[list[Source], OneOrMore] = key(
        list,
        "Rows that people judged, with `prompt`, `answer` and `good` (true or false). The judge does not see `good`; the rows "
        "are not published.",
    )

    @field_validator("template")
    @classmethod
    def _has_its_names(cls, value: str) -> str:
        missing = [name for name in _NAMES if name not in value]
        if value and missing:
            raise ValueError(f"wanted a template with {', '.join(_NAMES)}, got one without {', '.join(missing)}; add it")
        return value
