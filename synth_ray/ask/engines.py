"""From a job's models to running engines: one for each distinct model, whichever roles use it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import accumulate

from synth_ray.ask.data_parallel import DataParallelTeacher, split_devices, split_model
from synth_ray.ask.engine_start import PLAIN_START, EngineStart
from synth_ray.ask.teacher import PLAIN_USE, Load, Prompt, Teacher, TeacherFacts, TemplateUse
from synth_ray.job.models import Model, is_teacher
from synth_ray.recipes.contract import Completion
from synth_ray.storage import Storage

NO_MODELS: Mapping[str, Model] = {}

CUDA_VISIBLE_DEVICES = "CUDA_VISIBLE_DEVICES"
"""Set by Ray to the accelerators an actor was given."""


@dataclass(frozen=True, slots=True)
class RoleEngine:
    """What answers for a role: its teacher, the engine behind it (roles may share one), and the engine's facts."""

    teacher: Teacher
    engine: Teacher
    facts: TeacherFacts


def open_engines(
    models: Mapping[str, Model],
    storage: Storage | None = None,
    *,
    use: TemplateUse = PLAIN_USE,
    start: EngineStart = PLAIN_START,
) -> dict[str, RoleEngine]:
    """Start an engine for every role. `storage` is the output's store, for engines that keep records there. `use` is how the job
    asks its teachers. Of `start`, each engine has its own devices.
    """
    alike: dict[str, dict[str, Model]] = {}
    for role, model in models.items():
        alike.setdefault(model.engine_key, {})[role] = model
    firsts = [next(iter(by_role.items())) for by_role in alike.values()]
    devices = assign_devices([model for _, model in firsts], os.environ.get(CUDA_VISIBLE_DEVICES, ""))
    sharing = _with_memory_shares([model for _, model in firsts], devices, start.fraction)
    teachers = [
        make_teacher(
            model,
            storage,
            adapters=sorted({model.lora for model in by_role.values() if model.lora}),
            start=replace(start, devices=own),
            role=role,
            others={other: shared for other, shared in by_role.items() if other != role},
            use=use if is_teacher(role) else PLAIN_USE,
        )
        for (role, _), model, by_role, own in zip(firsts, sharing, alike.values(), devices, strict=True)
    ]
    # On accelerators of their own the engines start in parallel; on shared ones in turn, for each measures what is free.
    with ThreadPoolExecutor(len(set(devices))) as starting:
        facts_of = dict(
            zip(alike, zip(teachers, starting.map(lambda teacher: teacher.open(), teachers), strict=True), strict=True)
        )
    opened: dict[str, RoleEngine] = {}
    for role, model in models.items():
        engine, facts = facts_of[model.engine_key]
        is_first = role == next(iter(alike[model.engine_key]))
        opened[role] = RoleEngine(engine if is_first and not model.lora else RoleTeacher(engine, role, model.lora), engine, facts)
    return opened


def assign_devices(models: Sequence[Model], visible: str) -> list[str]:
    """The accelerators each engine sees: its own where there are enough for all, else all engines see the same."""
    accelerators = [name for name in visible.split(",") if name]
    spans = [model.devices for model in models]
    if sum(spans) > len(accelerators):
        return [visible] * len(models)
    ends = list(accumulate(spans))
    return [",".join(accelerators[end - span : end]) for span, end in zip(spans, ends, strict=True)]


def _with_memory_shares(models: Sequence[Model], devices: Sequence[str], fraction: float) -> list[Model]:
    """The models, with their parts of the memory where engines see the same accelerators."""
    from synth_ray.ask.vllm.shared_memory import with_shares

    shared = list(models)
    for own in set(devices):
        places = [place for place, name in enumerate(devices) if name == own]
        for place, model in zip(places, with_shares([models[place] for place in places], fraction), strict=True):
            shared[place] = model
    return shared


def unique_engines(engines: Mapping[str, RoleEngine]) -> list[RoleEngine]:
    """Each engine once, however many roles use it."""
    return list({id(engine.engine): engine for engine in engines.values()}.values())


def make_teacher(
    model: Model,
    storage: Storage | None = None,
    *,
    adapters: Sequence[str] = (),
    start: EngineStart = PLAIN_START,
    role: str = "teacher",
    others: Mapping[str, Model] = NO_MODELS,
    use: TemplateUse = PLAIN_USE,
) -> Teacher:
    """The teacher of a model section; not opened yet.

    `storage` is the output's store, for a teacher that keeps records there. `adapters` are all LoRA adapters that roles of this
    engine use. `role`, `others` and `use`: see `VllmTeacher`. vLLM runs in a process of its own (docs/decisions/0014), unless Ray
    starts its workers: Ray finds those from an actor only.
    """
    if model.engine != "vllm":
        return _teacher_elsewhere(model, storage)
    from synth_ray.ask.vllm.device_turn import turn_variable
    from synth_ray.ask.vllm.host import ProcessHost, ThreadHost
    from synth_ray.ask.vllm.pooling import VllmScorer
    from synth_ray.ask.vllm.teacher import VllmTeacher

    def engine(model: Model, own: str) -> Teacher:
        variables = {CUDA_VISIBLE_DEVICES: own} if own else {}
        variables |= turn_variable(_names(own, model), f"the {role}'s engine") if start.fraction < 1 else {}
        host = ThreadHost(start) if model.spans_nodes else ProcessHost(variables, start)
        if model.task != "generate":
            return VllmScorer(model, adapters=adapters, host=host, role=role, use=use)
        return VllmTeacher(model, adapters=adapters, host=host, role=role, others=others, use=use)

    if len(models := split_model(model)) == 1:
        return engine(model, start.devices)
    parts = split_devices(start.devices, models)
    return DataParallelTeacher([engine(one, own) for one, own in zip(models, parts, strict=True)])


def _names(devices: str, model: Model) -> list[str]:
    """The names of the accelerators that an engine uses: the first of those it sees, which are numbered where they have none."""
    visible = devices or os.environ.get(CUDA_VISIBLE_DEVICES, "")
    names = [name for name in visible.split(",") if name] or [str(number) for number in range(model.devices)]
    return names[: model.devices]


def _teacher_elsewhere(model: Model, storage: Storage | None) -> Teacher:
    """The teacher of a model that vLLM does not run here."""
    if model.engine == "endpoint":
        from synth_ray.ask.endpoint_teacher import EndpointTeacher

        return EndpointTeacher(model)
    if model.engine == "batch_api":
        from synth_ray.ask.batches.teacher import BatchApiTeacher

        return BatchApiTeacher(model, storage)
    if model.engine == "none":
        from synth_ray.ask.no_teacher import NoTeacher

        return NoTeacher()
    from synth_ray.ask.scripted_teacher import ScriptedTeacher

    return ScriptedTeacher(model)


class RoleTeacher:
    """An engine used in one role of several: with its LoRA adapter, if it has one, and with its way to think. Closing is up to
    whoever opened the engine.
    """

    def __init__(self, engine: Teacher, role: str, adapter: str = "") -> None:
        self._engine, self._role, self._adapter = engine, role, adapter

    def open(self) -> TeacherFacts:
        return self._engine.open()

    async def answer(self, prompt: Prompt) -> list[Completion]:
        return await self._engine.answer(replace(prompt, adapter=self._adapter, role=self._role))

    def load(self) -> Load:
        return self._engine.load()

    def close(self) -> None:
        pass
