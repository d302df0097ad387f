"""The teacher of a job that asks no model: it opens at once, and every ask fails."""

from __future__ import annotations

from synth_ray.ask.teacher import Load, Prompt, TeacherFacts
from synth_ray.errors import AskFailed
from synth_ray.recipes.contract import Completion
from synth_ray.records import Reason

_IN_FLIGHT = 4096


class NoTeacher:
    def open(self) -> TeacherFacts:
        return TeacherFacts(engine="none", model="none", revision="", max_running=_IN_FLIGHT, max_model_len=1)

    async def answer(self, prompt: Prompt) -> list[Completion]:
        raise AskFailed(Reason.ENGINE_ERROR, "the job has no teacher (models: none)")

    def load(self) -> Load:
        return Load()

    def close(self) -> None:
        pass
