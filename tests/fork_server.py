"""Runs in forked processes that are killed (SIGKILL) just before their n-th write or n-th event.

The fork server is one process with everything imported that forks a child for each run. A child's events are counted by
Python's audit hook: no code of the program is replaced, and the child dies as in a power cut.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.child_processes import end, line_of

ROOT = Path(__file__).parent.parent
_CHANGES = ("os.rename", "os.link", "os.remove")
_TEMPORARY = "/.tmp/"
_REQUESTS = (b"PUT ", b"POST ", b"DELETE ")
_MODULES = ("pyarrow.dataset", "synth_ray.route.run", "synth_ray.workers.local_pool", "tests.counted_recipe")
KILLED = -signal.SIGKILL


class ForkServer:
    """The client of the fork server: asks it for runs, one after another."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.fork_server"]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
        )

    def run(self, job: dict[str, Any], *, at: int | None = None, counts: str = "writes", **run_options: Any) -> dict[str, Any]:
        """Return the child's exit code `code`, its number of counted events `did` (unless killed) and its `error`.

        `run_options` are passed to `synth_ray.run`; with `part` among them that part alone is run.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"job": job, "at": at, "counts": counts, "options": run_options}) + "\n")
        self._process.stdin.flush()
        return dict(json.loads(line_of(self._process, seconds=600)))

    def close(self) -> None:
        end(self._process)


def _counter(at: int | None, counts: str, root: str) -> tuple[Callable[[str, tuple[Any, ...]], None], list[int]]:
    done = [0]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if not (counts == "anything" or _is_write(event, arguments, root)):
            return
        done[0] += 1  # before the kill, which is an event as well
        if done[0] - 1 == at:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook, done


def _is_write(event: str, arguments: tuple[Any, ...], root: str) -> bool:
    """Whether the event changes the output: a rename, link or removal in its folder, or a request that changes a bucket."""
    if event == "http.client.send":
        return isinstance(arguments[1], bytes) and arguments[1].startswith(_REQUESTS)
    if event not in _CHANGES or not any(str(a).startswith(root) for a in arguments[:2]):
        return False
    return event != "os.remove" or _TEMPORARY not in str(arguments[0])


def _child(request: dict[str, Any], result_fd: int) -> None:
    hook, done = _counter(request["at"], request["counts"], str(request["job"]["output"]["path"]))
    sys.addaudithook(hook)
    outcome: dict[str, Any] = {"error": ""}
    try:
        import synth_ray

        run = synth_ray.run_part if "part" in request["options"] else synth_ray.run
        result = run(request["job"], **request["options"])
        outcome["stopped"] = result.stopped
    except Exception as error:
        outcome["error"] = f"{type(error).__name__}: {error}"
    os.write(result_fd, json.dumps(outcome | {"did": done[0]}).encode())
    os._exit(1 if outcome["error"] else 0)


def _warm() -> None:
    """Load once what every child would otherwise load, which is five sixths of its time: modules, models, kernels, word lists."""
    for name in _MODULES:
        import_module(name)
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
        read_fd, write_fd = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read_fd)
            _child(json.loads(line), write_fd)
        os.close(write_fd)
        with os.fdopen(read_fd, "rb") as pipe:
            data = pipe.read()
        _, status = os.waitpid(child, 0)
        answer = json.loads(data) if data else {}
        sys.stdout.write(json.dumps(answer | {"code": os.waitstatus_to_exitcode(status)}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
