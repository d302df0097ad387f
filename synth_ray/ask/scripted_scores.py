"""What the scripted teacher gives as a reward model, a classifier or an embedding model: a function of the text alone."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

from synth_ray.ask.scores import REWARD, embedded, question_of, refuse_other_task, scored, similarity
from synth_ray.ask.teacher import Prompt
from synth_ray.job.models import Model
from synth_ray.recipes.contract import Completion
from synth_ray.records import digest

_DIMENSIONS = 64


def scripted_score(model: Model, prompt: Prompt) -> Completion:
    """The answer to `rate` or `embed`. Raises ServiceRefused where the model's task is another."""
    refuse_other_task(model, prompt)
    tokens = sum(len(text) for text in [*(m["content"] for m in prompt.messages), prompt.given]) // 5 + 1
    if prompt.kind == "embed":
        return embedded(_vector(model.scoring.prefix + question_of(prompt)), prompt_tokens=tokens)
    if model.task == "embed":
        return similarity(_vector(question_of(prompt)), _vector(prompt.given), prompt_tokens=tokens)
    score = _score(prompt, model.script.scores)
    if model.task == "reward":
        return scored({REWARD: score}, prompt_tokens=tokens)
    first, *others = model.scoring.labels
    likely = 1 / (1 + math.exp(-score))
    shares = {label: (1 - likely) / len(others) for label in others}
    return scored({first: likely, **shares}, prompt_tokens=tokens)


def _score(prompt: Prompt, scores: Mapping[str, float]) -> float:
    if scores:
        return sum(weight * prompt.given.count(word) for word, weight in scores.items())
    return random.Random(digest("score", prompt.messages, prompt.given)).uniform(-1, 1)


def _vector(text: str) -> list[float]:
    """The sum of its words' vectors: texts of the same words have the same one, and others are nearly at right angles."""
    total = [0.0] * _DIMENSIONS
    for word in text.casefold().split() or [""]:
        draw = random.Random(f"word {word}")
        total = [value + draw.gauss(0, 1) for value in total]
    return total
