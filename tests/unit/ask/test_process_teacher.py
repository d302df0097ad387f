"""An engine in a process of its own: how it starts, ends and dies."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from synth_ray.ask.engines import VISIBLE, devices_of
from synth_ray.ask.process_teacher import ProcessTeacher
from synth_ray.errors import EngineDead, JobError, TeacherError
from synth_ray.job.document import Job
from synth_ray.job.models import Model, Script
from tests.unit.ask.test_teachers import ask, prompt


@pytest.fixture
def opened() -> Iterator[Any]:
    """Opens teachers of their own process, and closes them."""
    made: list[ProcessTeacher] = []

    def one(**script: Any) -> ProcessTeacher:
        made.append(ProcessTeacher(Model(engine="scripted", script=Script(**script))))
        made[-1].open()
        return made[-1]

    yield one
    for teacher in made:
        teacher.close()


def process_of(teacher: Any) -> subprocess.Popen[bytes]:
    return teacher._process  # type: ignore[no-any-return]


async def until(told: Callable[[], bool]) -> None:
    """The engine's own process tells it so within ten seconds."""
    async with asyncio.timeout(10):
        while not told():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def test_a_killed_process_is_told_to_all_who_wait_and_all_who_come_later(opened: Any) -> None:
    teacher = opened(latency_s=60)

    async def killed() -> list[Any]:
        asked = [asyncio.create_task(teacher.answer(prompt(i))) for i in range(20)]
        await until(lambda: teacher.load().running == 20)
        process_of(teacher).send_signal(signal.SIGKILL)
        return list(await asyncio.gather(*asked, return_exceptions=True))

    deaths = asyncio.run(killed())
    assert {type(one) for one in deaths} == {EngineDead}
    assert "signal 9" in str(deaths[0])
    with pytest.raises(EngineDead):
        ask(teacher, prompt())


def test_an_engine_that_dies_in_its_process_ends_every_later_ask(opened: Any) -> None:
    teacher = opened(die_after=1)
    ask(teacher, prompt())
    for _ in range(2):
        with pytest.raises(EngineDead, match="as told"):
            ask(teacher, prompt())


def test_load_counts_what_runs_and_what_waits_and_a_cancelled_ask_is_neither(opened: Any) -> None:
    teacher = opened(latency_s=60, concurrency=3)

    async def cancelled() -> None:
        asked = [asyncio.create_task(teacher.answer(prompt(i, n=2))) for i in range(5)]
        await asyncio.sleep(0)
        assert teacher.load().waiting == 10  # nothing is lost sight of on its way
        await until(lambda: (teacher.load().running, teacher.load().waiting) == (3, 2))
        for one in asked:
            one.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        await until(lambda: teacher.load().running == teacher.load().waiting == 0)

    asyncio.run(cancelled())


def test_many_event_loops_ask_one_engine(opened: Any) -> None:
    teacher = opened(latency_s=0.01)
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda first=first: found.append(len(ask(teacher, *[prompt(first + i) for i in range(50)]))))
        for first in (0, 100, 200)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [50, 50, 50]


def test_the_process_ends_with_whoever_started_it() -> None:
    code = (
        "import os; from synth_ray.ask.process_teacher import ProcessTeacher; from synth_ray.job.models import Model\n"
        "teacher = ProcessTeacher(Model(engine='scripted')); teacher.open()\n"
        "print(teacher._process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    told = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False)
    status = Path(f"/proc/{int(told.stdout)}/status")
    for _ in range(1000):
        if not status.exists() or "State:\tZ" in status.read_text():
            return
        time.sleep(0.01)
    pytest.fail("the engine's process outlived its owner by ten seconds")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_is_not_the_engines(opened: Any, number: int) -> None:
    teacher = opened(latency_s=0.2)
    interrupt = threading.Timer(0.05, process_of(teacher).send_signal, [number])
    interrupt.start()
    assert len(ask(teacher, prompt())) == 1


def test_a_start_that_fails_says_what_the_engine_said(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = ProcessTeacher(Model(model="models/none-such", engine_args={"no_such": 1}))
    with pytest.raises(JobError, match="no_such"):
        wrong.open()
    wrong.close()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    broken = ProcessTeacher(Model(engine="scripted"))
    with pytest.raises(TeacherError, match="ended with code 1"):
        broken.open()
    broken.close()


def test_each_engine_of_a_replica_sees_its_own_accelerators_where_there_are_enough() -> None:
    small, large = Model(model="a"), Model(model="b", engine_args={"tensor_parallel_size": 2})
    served = Model.model_validate({"engine": "endpoint", "model": "c", "endpoint": {"urls": "http://127.0.0.1:1/v1"}})
    assert devices_of([small, served, large], "4,5,6") == ["4", "", "5,6"]
    assert devices_of([small, large], "4,5") == ["4,5", "4,5"]
    assert devices_of([small, large], "") == ["", ""]
    seen = ProcessTeacher(Model(engine="scripted"), environment={VISIBLE: "5,6"})
    seen.open()
    environment = Path(f"/proc/{process_of(seen).pid}/environ").read_text()
    seen.close()
    assert f"{VISIBLE}=5,6\0" in environment


@pytest.mark.parametrize(("gpus", "fits"), [(0, True), (2, True), (3, True), (1, False), (0.5, False), (4, False)])
def test_a_replicas_accelerators_are_shared_by_its_engines_or_each_ones_own(gpus: float, fits: bool) -> None:
    judge = {"model": "b", "engine_args": {"tensor_parallel_size": 2}}
    job = {"name": "gpus", "seeds": "s.jsonl", "recipe": "distill", "models": {"teacher": "a", "judge": judge}, "output": "out"}
    if fits:
        Job.model_validate(job | {"cluster": {"gpus_per_teacher": gpus}})
        return
    with pytest.raises(ValueError, match=r"wanted 2, .* share, or 3, each engine its own"):
        Job.model_validate(job | {"cluster": {"gpus_per_teacher": gpus}})
