"""From a job's models to engines that answer: one for each different model, whoever asks it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from synth_ray.ask.teacher import Load, Prompt, Teacher, TeacherFacts
from synth_ray.job.models import Model
from synth_ray.recipes.contract import Completion
from synth_ray.storage import Storage


@dataclass(frozen=True, slots=True)
class Engine:
    """What answers for a role: its teacher, the engine behind it, which others may share, and what that is."""

    teacher: Teacher
    engine: Teacher
    facts: TeacherFacts


def open_engines(models: Mapping[str, Model], storage: Storage | None = None) -> dict[str, Engine]:
    """An open engine for every role. `storage` is the output's, for an engine that keeps records there."""
    opened: dict[str, tuple[Teacher, TeacherFacts]] = {}
    found: dict[str, Engine] = {}
    for role, model in models.items():
        same = _engine_of(model)
        if same not in opened:
            adapters = sorted({one.lora for one in models.values() if one.lora and _engine_of(one) == same})
            teacher = open_teacher(model, storage, adapters=adapters)
            opened[same] = (teacher, teacher.open())
        engine, facts = opened[same]
        found[role] = Engine(Adapted(engine, model.lora) if model.lora else engine, engine, facts)
    return found


def distinct(engines: Mapping[str, Engine]) -> list[Engine]:
    """Each engine once, however many roles ask it."""
    return list({id(one.engine): one for one in engines.values()}.values())


def open_teacher(model: Model, storage: Storage | None = None, *, adapters: Sequence[str] = ()) -> Teacher:
    """The teacher a model section names; not opened yet.

    `storage` is the output's, for one that keeps records there. `adapters` are all that roles of its engine ask it with.
    vLLM gets a process of its own (docs/decisions/0014), unless it asks Ray for its workers: those it finds from an actor only.
    """
    if model.engine != "vllm" or model.spreads:
        return teacher_here(model, storage, adapters=adapters)
    from synth_ray.ask.process_teacher import ProcessTeacher

    return ProcessTeacher(model, adapters=adapters)


def teacher_here(model: Model, storage: Storage | None = None, *, adapters: Sequence[str] = ()) -> Teacher:
    """The same in this process, whatever it is."""
    if model.engine == "scripted":
        from synth_ray.ask.scripted_teacher import ScriptedTeacher

        return ScriptedTeacher(model)
    if model.engine == "none":
        from synth_ray.ask.no_teacher import NoTeacher

        return NoTeacher()
    if model.engine == "endpoint":
        from synth_ray.ask.endpoint_teacher import EndpointTeacher

        return EndpointTeacher(model)
    if model.engine == "batch_api":
        from synth_ray.ask.batch_api_teacher import BatchApiTeacher

        return BatchApiTeacher(model, storage)
    from synth_ray.ask.vllm_teacher import VllmTeacher

    return VllmTeacher(model, adapters=adapters)


def _engine_of(model: Model) -> str:
    """Roles that name the same model share an engine, whatever their adapter and their share of the requests."""
    return model.model_dump_json(exclude={"weight", "lora", "license", "terms", "family"})


class Adapted:
    """An engine asked with one of its adapters. It is the others' too: who opened it closes it."""

    def __init__(self, engine: Teacher, adapter: str) -> None:
        self._engine, self._adapter = engine, adapter

    def open(self) -> TeacherFacts:
        return self._engine.open()

    async def answer(self, prompt: Prompt) -> list[Completion]:
        return await self._engine.answer(replace(prompt, adapter=self._adapter))

    def load(self) -> Load:
        return self._engine.load()

    def close(self) -> None:
        pass
