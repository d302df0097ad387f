"""Data parallelism: equal engines side by side, which share the asks of one teacher."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

from synth_ray.ask.teacher import Load, Prompt, Teacher, TeacherFacts
from synth_ray.job.engine_args import has_ranks
from synth_ray.job.models import Model
from synth_ray.recipes.contract import Completion

DATA_PARALLEL_SIZE = "data_parallel_size"

_PER_ENGINE = ("steps", "starved_s", "busy_s", "cpu_s")
"""What engines that step side by side spend together as often, or as long, as one of them."""


def split_model(model: Model) -> list[Model]:
    """The model of each engine: one, or `data_parallel_size` of them without that argument, with which an in-process engine of
    vLLM would wait for the other ranks. Ranks that divide experts are one engine: `vllm.ranks`.
    """
    size = model.engine_args.get(DATA_PARALLEL_SIZE) or 1
    if model.engine != "vllm" or size == 1 or has_ranks(model.engine_args):
        return [model]
    rest = {name: value for name, value in model.engine_args.items() if name != DATA_PARALLEL_SIZE}
    return [model.model_copy(update={"engine_args": rest})] * size


def split_devices(devices: str, models: Sequence[Model]) -> list[str]:
    """The accelerators of each engine. Where they have no names, they are numbered."""
    span = models[0].devices
    names = [name for name in devices.split(",") if name] or [str(number) for number in range(span * len(models))]
    return [",".join(names[start : start + span]) for start in range(0, span * len(models), span)]


class DataParallelTeacher:
    """Law: an ask goes to the engine with the fewest sequences asked for. The death of one engine is the death of all."""

    def __init__(self, engines: Sequence[Teacher]) -> None:
        self._engines = list(engines)
        self._asked = [0] * len(self._engines)

    def open(self) -> TeacherFacts:
        with ThreadPoolExecutor(len(self._engines)) as starting:
            facts = list(starting.map(lambda engine: engine.open(), self._engines))
        first: TeacherFacts = facts[0]
        return replace(
            first,
            max_running=sum(each.max_running for each in facts),
            kv_tokens=sum(each.kv_tokens for each in facts),
            devices=sum(each.devices for each in facts),
            start_s=max(each.start_s for each in facts),
            start_phases=max(facts, key=lambda each: each.start_s).start_phases,
            engine_args={**first.engine_args, DATA_PARALLEL_SIZE: len(facts)},
        )

    async def answer(self, prompt: Prompt) -> list[Completion]:
        place = self._asked.index(min(self._asked))
        self._asked[place] += prompt.n
        try:
            return await self._engines[place].answer(prompt)
        finally:
            self._asked[place] -= prompt.n

    def load(self) -> Load:
        loads = [asdict(engine.load()) for engine in self._engines]
        sums = {name: sum(load[name] for load in loads) for name, value in loads[0].items() if isinstance(value, (int, float))}
        return Load(**sums | {name: type(sums[name])(sums[name] / len(loads)) for name in _PER_ENGINE})

    def close(self) -> None:
        for engine in self._engines:
            engine.close()
