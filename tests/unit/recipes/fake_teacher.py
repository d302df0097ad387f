"""A fake teacher for recipe tests, whose answers a plain function of the prompt makes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from synth_ray.ask.asker import Asker
from synth_ray.ask.deadline import Deadline
from synth_ray.ask.request_asks import RoleRules
from synth_ray.ask.teacher import Load, Prompt, Teacher, TeacherFacts
from synth_ray.job.recipe import RecipeChoice
from synth_ray.job.sampling import Sampling
from synth_ray.recipes.catalogue import find
from synth_ray.recipes.contract import Completion
from synth_ray.records import Outcome, Request, Seed

Reply = Callable[[Prompt, int], str]


class FakeTeacher:
    """A teacher whose n-th completion of a prompt is `reply(prompt, n)`; `asked` lists its prompts."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self.asked: list[Prompt] = []

    def open(self) -> TeacherFacts:
        return TeacherFacts("fake", "fake", "", 1, 1000)

    async def answer(self, prompt: Prompt) -> list[Completion]:
        self.asked.append(prompt)
        await asyncio.sleep(0)
        return [Completion(self._reply(prompt, n), "stop", 3, 5) for n in range(prompt.n)]

    def load(self) -> Load:
        return Load()

    def close(self) -> None:
        pass


def replying(reply: Reply | str) -> FakeTeacher:
    return FakeTeacher(reply if callable(reply) else lambda _prompt, _n: reply)


def seed(prompt: str = "2 + 2?", **more: Any) -> Seed:
    return Seed(id=prompt, lineage=prompt, split="train", fields={"prompt": prompt, **more})


def run_recipe(
    choice: dict[str, Any], teachers: Mapping[str, Teacher] | Teacher, *, from_seed: Seed | None = None, number: int = 0
) -> Outcome:
    """Run a recipe on one request; `from_seed` is its seed."""
    chosen = RecipeChoice.model_validate(choice)
    recipe = find(chosen.name)
    options = recipe.options.model_validate(chosen.options)
    roles = teachers if isinstance(teachers, Mapping) else {"teacher": teachers}
    rules = RoleRules(marks={"teacher": chosen.marks} if chosen.marks else {}, thoughts=chosen.reasoning or "keep")
    asker = Asker(
        recipe, options=options, teachers=roles, sampling=Sampling(max_tokens=64), deadline=Deadline(60, tokens=1), roles=rules
    )
    request = Request(f"r{number}", 0, number, from_seed or seed(), recipe.slots(options), random_seed=number)
    return asyncio.run(asker.run(request))
