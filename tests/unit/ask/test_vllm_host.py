"""A real engine in its own process: how it starts, reports its load, ends and dies."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from synth_ray.ask.engines import CUDA_VISIBLE_DEVICES, assign_devices
from synth_ray.ask.vllm.host import ProcessHost
from synth_ray.ask.vllm.teacher import VllmTeacher
from synth_ray.errors import AskFailed, EngineDied, JobError, TeacherError
from synth_ray.job.document import Job
from synth_ray.job.models import Model
from synth_ray.recipes.contract import Constraint
from tests.conftest import ENGINE_ARGS, TINY_TEACHER
from tests.unit.ask.test_teachers import ask, prompt

LONG = {"max_tokens": 400, "ignore_eos": True}
SMALL = ENGINE_ARGS | {"max_num_seqs": 8}


def process_of(teacher: Any) -> subprocess.Popen[bytes]:
    return teacher._host._process  # type: ignore[no-any-return]


async def wait_until(condition: Callable[[], bool]) -> None:
    """Poll until the condition holds; fail after three minutes."""
    async with asyncio.timeout(180):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.vllm
def test_a_killed_engine_process_fails_pending_and_later_prompts() -> None:
    teacher = VllmTeacher(Model(model=str(TINY_TEACHER), engine_args=SMALL))
    teacher.open()

    async def ask_and_kill() -> list[Any]:
        tasks = [asyncio.create_task(teacher.answer(prompt(i, sampling=LONG))) for i in range(20)]
        await wait_until(lambda: teacher.load().running == 8)
        process_of(teacher).send_signal(signal.SIGKILL)
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    deaths = asyncio.run(ask_and_kill())
    assert {type(error) for error in deaths} == {EngineDied}
    assert "signal 9" in str(deaths[0])
    with pytest.raises(EngineDied):
        ask(teacher, prompt())
    teacher.close()


@pytest.mark.vllm
def test_load_counts_running_and_waiting_prompts_and_no_cancelled_ones(vllm_teacher: Any) -> None:
    async def ask_and_cancel() -> None:
        tasks = [asyncio.create_task(vllm_teacher.answer(prompt(i, n=2, sampling=LONG))) for i in range(50)]
        await asyncio.sleep(0)
        assert vllm_teacher.load().running + vllm_teacher.load().waiting == 100  # prompts in transit to the process count
        await wait_until(lambda: (vllm_teacher.load().running, vllm_teacher.load().waiting) == (64, 36))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await wait_until(lambda: vllm_teacher.load().running == vllm_teacher.load().waiting == 0)

    asyncio.run(ask_and_cancel())


@pytest.mark.vllm
def test_many_event_loops_share_one_engine(vllm_teacher: Any) -> None:
    counts: list[int] = []

    def ask_fifty(first: int) -> None:
        counts.append(len(ask(vllm_teacher, *[prompt(first + i, sampling={"max_tokens": 4}) for i in range(50)])))

    threads = [threading.Thread(target=ask_fifty, args=[first]) for first in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert counts == [50, 50, 50]


@pytest.mark.vllm
def test_a_prompt_that_the_engine_refuses_fails_alone(vllm_teacher: Any) -> None:
    wrong = (prompt(1, constraint=Constraint(json_schema={"type": "no such type"})), prompt(2, sampling={"no_such_key": 1}))

    async def both() -> list[Any]:
        return list(await asyncio.gather(*[vllm_teacher.answer(p) for p in (*wrong, prompt())], return_exceptions=True))

    *refused, answered = asyncio.run(both())
    assert [type(error) for error in refused] == [AskFailed, AskFailed]
    assert ["refused by the engine" in str(error) for error in refused] == [True, True]
    assert len(answered) == 1


@pytest.mark.vllm
def test_a_text_is_the_same_whether_the_engine_or_the_client_detokenizes_it(vllm_teacher: Any) -> None:
    """The engine detokenizes when there are stop strings, else the client process does. What is asked alone, and was asked once
    before, is computed in the same steps both times: in a batch that is put together otherwise, tokens may be others.
    """

    def alone(sampling: dict[str, Any]) -> list[str]:
        return [ask(vllm_teacher, prompt(i, sampling=sampling))[0][0].text for i in range(5)]

    alone({"temperature": 0.0, "max_tokens": 1})
    for limits in ({"max_tokens": 7}, {"max_tokens": 60}, {"max_tokens": 60, "skip_special_tokens": False}):
        sampling = {"temperature": 0.0, **limits}
        in_client, in_engine = alone(sampling), alone({**sampling, "stop": ["no answer says this"]})
        assert in_client == in_engine
        assert all(in_client)


@pytest.mark.vllm
def test_the_engine_process_ends_when_its_parent_dies() -> None:
    code = (
        "import os; from synth_ray.ask.vllm.teacher import VllmTeacher; from synth_ray.job.models import Model\n"
        f"teacher = VllmTeacher(Model(model={str(TINY_TEACHER)!r}, engine_args={SMALL!r})); teacher.open()\n"
        "print(teacher._host._process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    owner = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False)
    status = Path(f"/proc/{int(owner.stdout.splitlines()[-1])}/status")
    for _ in range(12_000):
        if not status.exists() or "State:\tZ" in status.read_text():
            return
        time.sleep(0.01)
    pytest.fail("the engine's process outlived its owner by two minutes")


@pytest.mark.vllm
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_engine_process_ignores_signals_to_the_process_group(vllm_teacher: Any, number: int) -> None:
    interrupt = threading.Timer(0.05, process_of(vllm_teacher).send_signal, [number])
    interrupt.start()
    assert len(ask(vllm_teacher, prompt(sampling=LONG))) == 1
    assert len(ask(vllm_teacher, prompt())) == 1


@pytest.mark.vllm
def test_a_failed_start_reports_the_engines_own_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wrong = VllmTeacher(Model(model="models/none-such", engine_args={"no_such": 1}))
    with pytest.raises(JobError, match="no_such"):
        wrong.open()
    wrong.close()
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nenv > {tmp_path}/environment\nexit 3\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    broken = VllmTeacher(Model(model=str(TINY_TEACHER)), host=ProcessHost({CUDA_VISIBLE_DEVICES: "5,6"}))
    with pytest.raises(TeacherError, match="ended with code 3"):
        broken.open()
    broken.close()
    environment = (tmp_path / "environment").read_text()
    assert f"{CUDA_VISIBLE_DEVICES}=5,6\n" in environment
    assert "NUMBA_THREADING_LAYER=workqueue\n" in environment, "drafts would take PyTorch's threads to all cores"


def test_each_engine_of_a_replica_gets_its_own_accelerators_if_there_are_enough() -> None:
    small, large = Model(model="a"), Model(model="b", engine_args={"tensor_parallel_size": 2})
    served = Model.model_validate({"engine": "endpoint", "model": "c", "endpoint": {"urls": "http://127.0.0.1:1/v1"}})
    assert assign_devices([small, served, large], "4,5,6") == ["4", "", "5,6"]
    assert assign_devices([small, large], "4,5") == ["4,5", "4,5"]
    assert assign_devices([small, large], "") == ["", ""]


@pytest.mark.parametrize(("gpus", "fits"), [(0, True), (2, True), (3, True), (1, False), (0.5, False), (4, False)])
def test_gpus_per_teacher_fits_shared_or_separate_engines_or_is_refused(gpus: float, fits: bool) -> None:
    judge = {"model": "b", "engine_args": {"tensor_parallel_size": 2}}
    job = {"name": "gpus", "seeds": "s.jsonl", "recipe": "distill", "models": {"teacher": "a", "judge": judge}, "output": "out"}
    if fits:
        Job.model_validate(job | {"cluster": {"gpus_per_teacher": gpus}})
        return
    with pytest.raises(ValueError, match=r"wanted 2, .* share, or 3, each engine its own"):
        Job.model_validate(job | {"cluster": {"gpus_per_teacher": gpus}})


@pytest.mark.vllm
def test_an_engine_that_speculates_tells_its_drafts_and_takes_fewer_steps() -> None:
    ngram = {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_min": 2, "prompt_lookup_max": 4}
    teacher = VllmTeacher(Model(model=str(TINY_TEACHER), engine_args=SMALL | {"speculative_config": ngram}))
    teacher.open()
    repeats = {"max_tokens": 60, "ignore_eos": True, "allowed_token_ids": [100], "temperature": 0.0}  # every draft is right
    ask(teacher, prompt(8, sampling=repeats))
    steps = teacher.load().steps  # of one prompt: several may be apart, and are then not stepped together
    answers = ask(teacher, *[prompt(i, sampling=repeats) for i in range(8)])
    load = teacher.load()
    with pytest.raises(AskFailed, match="speculates at temperature 0 only"):
        ask(teacher, prompt(sampling=repeats | {"temperature": 0.5}))
    teacher.close()
    assert [answer.completion_tokens for (answer,) in answers] == [60] * 8
    assert steps < 30
    assert 0.8 * load.drafted < load.accepted <= load.drafted  # drafts past an answer's end are not said
