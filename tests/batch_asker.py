"""Asks a provider's batches in processes that can be killed, each forked from one that has everything imported."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from synth_ray.ask.batches.teacher import BatchApiTeacher
from synth_ray.ask.teacher import Prompt
from synth_ray.job.models import Model
from synth_ray.recipes.contract import Completion, user
from synth_ray.records import digest
from synth_ray.storage.local import LocalStorage
from tests.child_processes import end, line_of

Answer = list[Completion] | BaseException


def prompt(number: int, text: str = "question", **changes: Any) -> Prompt:
    sampling = {"temperature": 0.5, "max_tokens": 8} | changes.pop("sampling", {})
    return Prompt([user(f"{text} {number}")], digest("ask", number), sampling=sampling, **changes)


def ask(section: dict[str, Any], folder: Path, *prompts: Prompt) -> list[Answer]:
    """The answers to the prompts, with records of the batches in a folder."""
    teacher = BatchApiTeacher(Model.model_validate(section), LocalStorage(folder))
    teacher.open()

    async def answer_all() -> list[Any]:
        return await asyncio.gather(*(teacher.answer(one) for one in prompts), return_exceptions=True)

    return asyncio.run(answer_all())


class ForkedAsker:
    """Runs one asking process after another; of each the answers are lost, and the records stay."""

    def __init__(self) -> None:
        command, environment = [sys.executable, "-m", "tests.batch_asker"], os.environ | {"PYTHONPATH": os.getcwd()}
        self._parent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        self._started = threading.Event()
        self._pid = 0

    def start(self, section: dict[str, Any], folder: Path, count: int) -> None:
        """Begin to ask so many prompts, in this process's environment."""
        assert self._parent.stdin is not None
        self._started.clear()
        self._parent.stdin.write(json.dumps([section, str(folder), count, dict(os.environ)]) + "\n")
        self._parent.stdin.flush()
        self._pid = int(line_of(self._parent))
        self._started.set()

    def kill(self) -> int:
        """Kill the asking process once it has started; returns its exit code when it is dead."""
        assert self._started.wait(timeout=60)
        os.kill(self._pid, signal.SIGKILL)
        return self.wait()

    def wait(self) -> int:
        return int(line_of(self._parent))

    def close(self) -> None:
        end(self._parent)


def _serve() -> None:
    import boto3  # noqa: F401

    import synth_ray.ask.batches.anthropic
    import synth_ray.ask.batches.bedrock
    import synth_ray.ask.batches.gemini
    import synth_ray.ask.batches.openai  # noqa: F401

    for line in sys.stdin:
        section, folder, count, environment = json.loads(line)
        child = os.fork()
        if child == 0:
            os.environ.update(environment)
            ask(section, Path(folder), *[prompt(number) for number in range(count)])
            os._exit(0)
        _tell(child)
        _tell(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def _tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _serve()
