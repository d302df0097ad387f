"""An engine of two data-parallel ranks, started for real. The ranks of a dense model exchange nothing, so that CPUs will do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from synth_ray.ask.vllm import engine
from synth_ray.ask.vllm.host import ThreadHost
from synth_ray.ask.vllm.teacher import VllmTeacher
from synth_ray.errors import AskFailed, EngineDied
from synth_ray.job.models import Model
from tests.conftest import ENGINE_ARGS, TINY_TEACHER
from tests.unit.ask.test_teachers import ask, prompt

GREEDY = {"max_tokens": 8, "temperature": 0, "ignore_eos": True}


@pytest.fixture(scope="module")
def teacher() -> Iterator[VllmTeacher]:
    """Opened. Its argument alone would start two engines; here it starts ranks, as it does where experts are divided."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "has_ranks", lambda _: True)
        patch.setenv("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        # In bfloat16 the likeliest two tokens are often one step apart, and which is taken depends on what else is in the batch.
        args = ENGINE_ARGS | {"data_parallel_size": 2, "max_num_seqs": 4, "dtype": "float32"}
        teacher = VllmTeacher(Model(model=str(TINY_TEACHER), engine_args=args), host=ThreadHost())
        facts = teacher.open()
        assert (facts.max_running, facts.devices) == (8, 2)
        yield teacher
        teacher.close()


@pytest.mark.vllm
def test_ranks_answer_alike_refuse_alone_stop_when_cancelled_and_die_together(teacher: VllmTeacher) -> None:
    async def all_asks() -> list[Any]:
        answers = [teacher.answer(prompt(1, sampling=GREEDY)) for _ in range(12)]
        drawn = teacher.answer(prompt(2, n=3, sampling=GREEDY | {"temperature": 1.0, "seed": 5}))
        refused = teacher.answer(prompt(3, sampling=GREEDY | {"no_such_key": 1}))
        return list(await asyncio.gather(*answers, drawn, refused, return_exceptions=True))

    *alike, drawn, refused = asyncio.run(all_asks())
    assert len({answer[0].text for answer in alike}) == 1
    assert len(drawn) == 3
    assert isinstance(refused, AskFailed)

    async def run(sequences: int) -> None:
        async with asyncio.timeout(180):
            while teacher.load().running != sequences:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def cancelled() -> None:
        long = asyncio.create_task(teacher.answer(prompt(4, sampling=GREEDY | {"max_tokens": 400})))
        await run(1)
        long.cancel()
        await run(0)

    asyncio.run(cancelled())
    assert teacher.load().sequences == 15

    async def killed() -> list[Any]:
        asks = [asyncio.create_task(teacher.answer(prompt(n, sampling=GREEDY | {"max_tokens": 400}))) for n in range(8)]
        await run(8)
        ranks = [child for child in psutil.Process().children() if "EngineCore_DP1" in "".join(child.cmdline())]
        ranks[0].kill()
        return list(await asyncio.gather(*asks, return_exceptions=True))

    assert EngineDied in {type(answer) for answer in asyncio.run(killed())}
    with pytest.raises(EngineDied):
        ask(teacher, prompt(9, sampling=GREEDY))
