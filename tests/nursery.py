"""Runs in processes of their own, which the kernel kills (SIGKILL) just before the n-th thing they do.

A nursery is one process that has everything imported and forks a child for each run. What a child does is counted by
Python's audit events: nothing of the program is replaced, and the child dies as a machine's power cut would end it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
_CHANGES = ("os.rename", "os.link", "os.remove")
_UNSEEN = "/.tmp/"
_REQUESTS = (b"PUT ", b"POST ", b"DELETE ")
KILLED = -signal.SIGKILL


class Nursery:
    """Asks the nursery's process for runs, one after another."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.nursery"]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
        )

    def run(self, job: dict[str, Any], *, at: int | None = None, counts: str = "writes", **how: Any) -> dict[str, Any]:
        """The child's exit code, the number of things it did (unless killed), and its error. `how` goes to `synth_ray.run`."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"job": job, "at": at, "counts": counts, "how": how}) + "\n")
        self._process.stdin.flush()
        return dict(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


def _counter(at: int | None, counts: str, root: str) -> tuple[Callable[[str, tuple[Any, ...]], None], list[int]]:
    done = [0]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if not (counts == "anything" or _is_write(event, arguments, root)):
            return
        done[0] += 1  # first, for the kill is an event too
        if done[0] - 1 == at:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook, done


def _is_write(event: str, arguments: tuple[Any, ...], root: str) -> bool:
    """A change of the output: a rename, link or removal under its folder, or a request that changes a bucket."""
    if event == "http.client.send":
        return isinstance(arguments[1], bytes) and arguments[1].startswith(_REQUESTS)
    if event not in _CHANGES or not any(str(a).startswith(root) for a in arguments[:2]):
        return False
    return event != "os.remove" or _UNSEEN not in str(arguments[0])


def _child(ask: dict[str, Any], told: int) -> None:
    hook, done = _counter(ask["at"], ask["counts"], str(ask["job"]["output"]["path"]))
    sys.addaudithook(hook)
    found: dict[str, Any] = {"error": ""}
    try:
        import synth_ray

        result = synth_ray.run(ask["job"], **ask["how"])
        found["stopped"] = result.stopped
    except Exception as error:
        found["error"] = f"{type(error).__name__}: {error}"
    os.write(told, json.dumps(found | {"did": done[0]}).encode())
    os._exit(1 if found["error"] else 0)


def _warm() -> None:
    """Load here, once, what every child would load for itself: models, kernels, word lists."""
    from synth_ray.job.load import job_from
    from synth_ray.prepare.seed_rows import real_rows
    from synth_ray.records import Seed
    from synth_ray.workers.row_stages import RowStages

    job = {"name": "warm", "seeds": "none", "recipe": "distill", "models": {"teacher": {"engine": "scripted"}}, "output": "none"}
    RowStages(job_from(job)).scrub_and_fingerprint(
        real_rows([Seed("0" * 32, "0" * 32, "test", {"prompt": "one two", "answer": "three four"})])
    )


def _serve() -> None:
    _warm()
    for line in sys.stdin:
        hear, told = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(hear)
            _child(json.loads(line), told)
        os.close(told)
        with os.fdopen(hear, "rb") as pipe:
            found = pipe.read()
        _, status = os.waitpid(child, 0)
        answer = json.loads(found) if found else {}
        sys.stdout.write(json.dumps(answer | {"code": os.waitstatus_to_exitcode(status)}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
