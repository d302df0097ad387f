"""Whether the models of a job can do what its sections want of them: text from one that writes, numbers from one that scores."""

from __future__ import annotations

from collections.abc import Iterator

from synth_ray.job.check import Check
from synth_ray.job.dedup import Dedup
from synth_ray.job.judge import Judging
from synth_ray.job.models import Model, Models, teacher_role
from synth_ray.job.scoring import SCALE


def unfit_roles(models: Models, check: Check, dedup: Dedup) -> Iterator[str]:
    """What does not fit, a sentence each."""
    for place, teacher in enumerate(models.teachers):
        if teacher.task != "generate":
            yield f"models.{teacher_role(place)}.task: wanted generate, got {teacher.task}; a model that scores can be the judge"
    if models.embedder is not None and models.embedder.task != "embed":
        yield f"models.embedder.task: wanted embed, got {models.embedder.task}; leave it out, or make this model the judge"
    if check.judge is not None and models.judge is not None:
        yield from _unfit_judging(check.judge, models.judge)
    yield from _unfit_semantic(models, dedup)


def _unfit_judging(gate: Judging, judge: Model) -> Iterator[str]:
    if judge.task == "generate":
        yield from off_scale(gate)
        return
    if given := [name for name in ("criteria", "template") if name in gate.model_fields_set]:
        yield (
            f"check.judge.{given[0]}: wanted a judge that reads a rubric, got task {judge.task}; leave it out, or name a judge "
            "that generates"
        )
    if "min_score" not in gate.model_fields_set:
        yield (
            f"check.judge.min_score: wanted the lowest score that passes, got none; a model with task {judge.task} has a scale "
            "of its own: run with `check.drop` without poorly_judged, look at the scores' quantiles in the report, then curate"
        )
    if judge.task == "classify" and not gate.label:
        yield "check.judge.label: wanted the classifier's label whose probability is the score, got none; name it"
    if judge.task != "classify" and gate.label:
        yield f"check.judge.label: wanted a classifier, got task {judge.task}; leave label out"
    labels = judge.scoring.labels
    if gate.label and labels and gate.label not in labels:
        yield f"check.judge.label: wanted one of {', '.join(labels)}, got '{gate.label}'"


def off_scale(gate: Judging) -> Iterator[str]:
    """What does not fit a judge that reads a rubric."""
    low, high = SCALE
    if not low <= gate.min_score <= high:
        yield (
            f"check.judge.min_score: wanted a mean score from {low:g} to {high:g}, got {gate.min_score:g}; for another scale "
            "give models.judge a task"
        )
    if gate.label:
        yield "check.judge.label: wanted a classifier, got a judge that generates; say models.judge.task: classify"


def _unfit_semantic(models: Models, dedup: Dedup) -> Iterator[str]:
    role = dedup.semantic.role if dedup.semantic is not None else ""
    embeds = models.by_role().get(role)
    if role and (embeds is None or embeds.task != "embed"):
        got = f"task {embeds.task}" if embeds is not None else "none"
        yield f"dedup.semantic.role: wanted a models.{role} with task embed, got {got}; name one there"
    if models.embedder is not None and role != "embedder":
        yield "models.embedder: wanted a use for it, got none; say dedup.semantic: {role: embedder}, or leave it out"
