"""Engines that share an accelerator, or a slot of a CPU: one starts at a time, and each has its part of the memory."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from synth_ray.ask.engine_start import EngineStart
from synth_ray.ask.engines import CUDA_VISIBLE_DEVICES, RoleEngine, open_engines
from synth_ray.ask.vllm.device_turn import DeviceTurn
from synth_ray.job.models import Model
from tests.child_processes import line_of
from tests.conftest import ENGINE_ARGS, TINY_TEACHER
from tests.unit.ask.test_teachers import ask, prompt


def wait_until(condition: Callable[[], bool], *, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"waited {seconds} seconds in vain"
        time.sleep(0.01)


def test_turns_on_one_device_follow_each_other_and_on_others_do_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    inside: list[str] = []

    def take(name: str, devices: list[str]) -> None:
        with DeviceTurn(devices, name, folder=tmp_path):
            inside.append(name)

    with DeviceTurn(["0", "1"], "first", folder=tmp_path):
        threads = [
            threading.Thread(target=take, args=a) for a in (("second", ["1", "0"]), ("third", ["0"]), ("elsewhere", ["7"]))
        ]
        for thread in threads:
            thread.start()
        wait_until(lambda: caplog.text.count("waits to start: first (process") == 2)
        wait_until(lambda: inside == ["elsewhere"])
    for thread in threads:
        thread.join(120)
    assert sorted(inside) == ["elsewhere", "second", "third"]


def test_a_turn_ends_with_its_process(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from synth_ray.ask.vllm.device_turn import DeviceTurn\n"
        f"with DeviceTurn(['0'], 'owner', folder=Path({str(tmp_path)!r})): print(flush=True); input()"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    line_of(owner)
    taken = threading.Event()

    def take() -> None:
        with DeviceTurn(["0"], "next", folder=tmp_path):
            taken.set()

    threading.Thread(target=take, daemon=True).start()
    assert not taken.wait(0.6)
    owner.kill()
    assert taken.wait(120)
    owner.wait()


@pytest.mark.vllm
def test_two_engines_in_one_slot_start_in_turn_and_share_its_memory_as_told(capfd: pytest.CaptureFixture[str]) -> None:
    """On the CPU the slot's memory is what VLLM_CPU_KVCACHE_SPACE gives for KV caches, in GiB."""
    model = Model(model=str(TINY_TEACHER), engine_args=ENGINE_ARGS)
    opened: list[RoleEngine] = []
    printed = [""]

    def told() -> str:
        printed.append(capfd.readouterr().err)
        return "".join(printed)

    def open_one(said: Model) -> None:
        opened.append(open_engines({"teacher": said}, start=EngineStart(fraction=0.5))["teacher"])

    given = model.model_copy(update={"engine_args": ENGINE_ARGS | {"kv_cache_memory_bytes": 2**27}})
    threads = [threading.Thread(target=open_one, args=[said]) for said in (model, given)]
    visible = os.environ.get(CUDA_VISIBLE_DEVICES, "0").split(",")[:1]
    with DeviceTurn(visible, "this test"):
        for thread in threads:
            thread.start()
        wait_until(lambda: told().count("the teacher's engine waits to start: this test (process") == 2, seconds=400)
        assert not opened
    for thread in threads:
        thread.join(400)
    space = int(os.environ["VLLM_CPU_KVCACHE_SPACE"]) * 2**30
    sizes = sorted(one.facts.kv_tokens * one.facts.size.kv_bytes for one in opened if one.facts.size)
    try:
        assert sizes == pytest.approx([2**27, space / 2], rel=0.01)
        assert all(len(ask(one.engine, prompt())) == 1 for one in opened)
    finally:
        for one in opened:
            one.engine.close()
