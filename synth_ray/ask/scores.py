"""Scores and vectors as completions, and the refusal of an ask that a model of another task cannot answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from synth_ray.ask.teacher import Prompt
from synth_ray.errors import AskFailed, ServiceRefused
from synth_ray.job.models import Model
from synth_ray.recipes.contract import Completion
from synth_ray.records import Reason

REWARD, SIMILARITY = "reward", "similarity"
"""The labels of a reward model's one score, and of the cosine of two texts."""


def refuse_other_task(model: Model, prompt: Prompt) -> None:
    """Raise ServiceRefused for an ask that the model's task does not answer: no ask of its kind would be."""
    fits = {"generate": ("chat", "score", "instruct"), "embed": ("embed", "rate")}.get(model.task, ("rate",))
    if prompt.kind not in fits:
        wanted = {"rate": "reward, classify or embed", "embed": "embed"}.get(prompt.kind, "generate")
        raise ServiceRefused(f"models: wanted task {wanted} of '{model.name}' for what the recipe asks, got {model.task}")


def scored(scores: Mapping[str, float], *, prompt_tokens: int | None, cached_tokens: int = 0) -> Completion:
    """Scores as an answer. Raises AskFailed for one that is no number."""
    if not scores or not all(map(math.isfinite, scores.values())):
        raise AskFailed(Reason.ENGINE_ERROR, "a score is no number" if scores else "no score")
    return Completion("", "stop", prompt_tokens, 0, cached_tokens, scores=dict(scores))


def embedded(vector: Sequence[float], *, prompt_tokens: int | None) -> Completion:
    """The vector at unit length as an answer. Raises AskFailed for one that has none."""
    return Completion("", "stop", prompt_tokens, 0, vector=unit(vector))


def similarity(one: Sequence[float], other: Sequence[float], *, prompt_tokens: int | None) -> Completion:
    """The cosine of two vectors as a score."""
    cosine = sum(a * b for a, b in zip(unit(one), unit(other), strict=True))
    return scored({SIMILARITY: cosine}, prompt_tokens=prompt_tokens)


def unit(vector: Sequence[float]) -> list[float]:
    length = math.sqrt(math.fsum(value * value for value in vector))
    if not math.isfinite(length) or length == 0:
        raise AskFailed(Reason.ENGINE_ERROR, "a vector without a length")
    return [value / length for value in vector]


def question_of(prompt: Prompt) -> str:
    """The last message's text: what an answer is compared with, where a model reads no conversation."""
    return str(prompt.messages[-1]["content"]) if prompt.messages else ""


def reads(model: Model) -> str:
    """What a reward model or classifier is given; see `job.scoring.Scoring`."""
    return model.scoring.reads or ("conversation" if model.chat else "answer")


def labelled(model: Model, numbers: Sequence[float], own_labels: Sequence[str] = ()) -> dict[str, float]:
    """A head's outputs by label. `own_labels` are the model's own, where it tells them. Raises ServiceRefused where their numbers
    differ.
    """
    if model.task == "reward":
        if len(numbers) != 1:
            raise ServiceRefused(
                f"models.task: wanted a reward model with one output, got {len(numbers)} of '{model.name}'; say task: classify"
            )
        return {REWARD: numbers[0]}
    labels = list(model.scoring.labels or own_labels)
    if len(labels) != len(numbers):
        raise ServiceRefused(
            f"models.scoring.labels: wanted a name for each of the {len(numbers)} outputs of '{model.name}', got {len(labels)}; "
            "list them in order"
        )
    return dict(zip(labels, numbers, strict=True))
