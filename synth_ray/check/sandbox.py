"""Runs programs with their tests, each in an isolated process that is killed when its time is up."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synth_ray.check import sandbox_child
from synth_ray.errors import MissingResource

_HARNESS = """
import sys
token, _, rest = sys.stdin.buffer.read().partition(b"\\0")
program, _, tests = rest.partition(b"\\0")
names = {"__name__": "program"}
say = sys.stdout.buffer
exec(compile(program, "program", "exec"), names)
exec(compile(tests, "tests", "exec"), names)
say.write(token)
say.flush()
"""
_FENCED = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one program with its tests; `seconds` is wall-clock time."""

    seconds: float = 10.0
    memory_bytes: int = 512_000_000
    disk_bytes: int = 16_000_000


class Sandbox:
    """Law: a program yields a verdict and nothing else. A host that cannot isolate programs stops the job, see `probe`."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._script = str(Path(sandbox_child.__file__))
        self._python = os.path.realpath(sys.executable)
        folders = [sys.base_prefix, "/usr", "/lib", "/lib64", "/bin"]
        self._readable = [f for i, f in enumerate(folders) if not any(f.startswith(g + "/") for g in folders[:i])]

    def probe(self) -> None:
        """Raise MissingResource, naming the kind of isolation, if this host cannot isolate a program."""
        trial = self._run("pass", "pass", self._limits.seconds)
        if not trial.passed:
            raise MissingResource(
                f"check.verify: wanted a host that can isolate a program, got one that cannot ({trial.detail}); allow "
                "unprivileged user namespaces, or choose another verifier"
            )

    def passes(self, program: str, tests: str) -> bool:
        """Whether the program and then its tests run to their end without an error."""
        return self._run(program, tests, self._limits.seconds).passed

    def pass_each(self, programs: list[tuple[str, str]]) -> list[bool]:
        """As `passes` for each (program, tests) pair, as many at once as there are cores."""
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            return list(pool.map(lambda pair: self.passes(*pair), programs))

    def _run(self, program: str, tests: str, seconds: float) -> _ProgramResult:
        token = secrets.token_hex(16).encode()
        stdin = b"\0".join((token, *(text.replace("\0", " ").encode("utf-8", "replace") for text in (program, tests))))
        with tempfile.TemporaryDirectory(prefix="synth-ray-sandbox-") as root:
            process = subprocess.Popen(
                [self._python, "-I", "-S", "-B", self._script, json.dumps(self._settings(root))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={},
                start_new_session=True,
            )
            try:
                return _run_to_end(process, stdin, token, seconds)
            finally:
                _kill(process)

    def _settings(self, root: str) -> dict[str, Any]:
        limits = self._limits
        return {
            "root": root,
            "readable": self._readable,
            "python": self._python,
            "memory": limits.memory_bytes,
            "cpu_s": int(limits.seconds) + 1,
            "disk": limits.disk_bytes,
            "harness": _HARNESS,
        }


@dataclass(frozen=True, slots=True)
class _ProgramResult:
    passed: bool
    detail: str = ""


_MAX_OUTPUT = 1 << 16


def _run_to_end(process: subprocess.Popen[bytes], stdin: bytes, token: bytes, seconds: float) -> _ProgramResult:
    """Wait until the program ends or its time is up. It passed if the harness printed `token` after the tests. Only the last 64
    KiB of output are kept.
    """
    timer = ThreadPoolExecutor(1)
    try:
        out = timer.submit(_communicate, process, stdin).result(timeout=seconds)
    except TimeoutError:
        return _ProgramResult(False, f"not done after {seconds:g} s")
    finally:
        _kill(process)
        timer.shutdown(wait=False)
    if process.returncode == sandbox_child.NO_ISOLATION:
        return _ProgramResult(False, out.decode("utf-8", "replace")[:200])
    return _ProgramResult(process.returncode == 0 and token in out, "failed")


def _communicate(process: subprocess.Popen[bytes], stdin: bytes) -> bytes:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(stdin)
        process.stdin.close()
    except BrokenPipeError:
        pass  # it ended before reading all its input: the exit code says why
    out = b""
    while piece := process.stdout.read(4096):
        out = (out + piece)[-_MAX_OUTPUT:]
    process.wait()
    return out


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the process group. It contains the init of the program's PID namespace, with which all processes in there end."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None and not pipe.closed:
            with suppress(BrokenPipeError):  # unread output is not needed
                pipe.close()


def program_in(completion: str) -> str:
    """The code of an answer: its first fenced block, else all of it."""
    fenced = _FENCED.search(completion)
    return fenced[1] if fenced else completion
