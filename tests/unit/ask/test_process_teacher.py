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

from synth_ray.ask.process_teacher import ProcessTeacher
from synth_ray.errors import EngineDead, JobError, TeacherError
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


def test_a_terminals_interrupt_is_not_the_engines(opened: Any) -> None:
    teacher = opened(latency_s=0.2)
    interrupt = threading.Timer(0.05, process_of(teacher).send_signal, [signal.SIGINT])
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
