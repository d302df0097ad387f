"""Stands in for a model in recipe tests: answers are what a plain function of the prompt says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from synth_ray.ask.asker import Asker
from synth_ray.ask.teacher import Load, Prompt, Teacher, TeacherFacts
from synth_ray.job.models import RecipeChoice, Sampling
from synth_ray.recipes.catalogue import find
from synth_ray.recipes.contract import Completion
from synth_ray.records import Outcome, Request, Seed

Says = Callable[[Prompt, int], str]


class Speaker:
    """A teacher whose n-th completion of a prompt is `says(prompt, n)`; keeps what it was asked."""

    def __init__(self, says: Says) -> None:
        self._says = says
        self.asked: list[Prompt] = []

    def open(self) -> TeacherFacts:
        return TeacherFacts("says", "says", "", 1, 1000)

    async def answer(self, prompt: Prompt) -> list[Completion]:
        self.asked.append(prompt)
        await asyncio.sleep(0)
        return [Completion(self._says(prompt, n), "stop", 3, 5) for n in range(prompt.n)]

    def load(self) -> Load:
        return Load()

    def close(self) -> None:
        pass


def says(function: Says | str) -> Speaker:
    return Speaker(function if callable(function) else lambda _prompt, _n: function)


def seed(prompt: str = "2 + 2?", **more: Any) -> Seed:
    return Seed(id=prompt, lineage=prompt, split="train", fields={"prompt": prompt, **more})


def made(
    choice: dict[str, Any], teachers: Mapping[str, Teacher] | Teacher, *, one: Seed | None = None, number: int = 0
) -> Outcome:
    """What a recipe makes of one seed."""
    chosen = RecipeChoice.model_validate(choice)
    recipe = find(chosen.name)
    options = recipe.options.model_validate(chosen.options)
    roles = teachers if isinstance(teachers, Mapping) else {"teacher": teachers}
    asker = Asker(recipe, options=options, teachers=roles, sampling=Sampling(max_tokens=64), deadline_s=60)
    whole = Request(f"r{number}", 0, number, one or seed(), recipe.slots(options), random_seed=number)
    return asyncio.run(asker.run(whole))
