"""Runs programs, each in an isolated process that is killed when its time is up."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from synth_ray.errors import MissingResource
from synth_ray.job.cores import usable_cores
from synth_ray.verify import sandbox_child
from synth_ray.verify.sabotage import sabotaged

_TESTS = """
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
_STDIN = """
import os, sys
program, _, given = sys.stdin.buffer.read().partition(b"\\0")
with open("/box/stdin", "wb") as file:
    file.write(given)
os.dup2(os.open("/box/stdin", os.O_RDONLY), 0)
sys.stdin = open(0, encoding="utf-8")
exec(compile(program, "program", "exec"), {"__name__": "__main__"})
"""
_CALL = """
import json, sys
program, _, given = sys.stdin.buffer.read().partition(b"\\0")
token, name, arguments = json.loads(given)
say = sys.stdout
names = {"__name__": "program"}
exec(compile(program, "program", "exec"), names)
value = getattr(names["Solution"](), name) if "Solution" in names and name not in names else names[name]
said = json.dumps(value(*arguments))
say.write("\\n" + token + said)
say.flush()
"""
_FENCED = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one program with its tests; `seconds` is wall-clock time."""

    seconds: float = 10.0
    memory_bytes: int = 512_000_000
    disk_bytes: int = 16_000_000


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended. `out` is what it wrote, its last MiB; `is_isolated` is False where this host could not run it."""

    is_done: bool
    out: bytes = b""
    detail: str = ""
    is_isolated: bool = True


class Sandbox:
    """Law: a program yields a verdict and nothing else. A host that cannot isolate programs stops the job, see `probe`."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        folders = [sys.base_prefix, "/usr", "/lib", "/lib64", "/bin"]
        self._readable = [f for i, f in enumerate(folders) if not any(f.startswith(g + "/") for g in folders[:i])]

    def probe(self, *, asked_by: str = "check.verify") -> None:
        """Raise MissingResource, naming the kind of isolation, if this host cannot isolate a program."""
        trial = self._run(_STDIN, b"pass\0")
        if not trial.is_done:
            raise MissingResource(
                f"{asked_by}: wanted a host that can isolate a program, got one that cannot ({trial.detail}); allow "
                "unprivileged user namespaces, or choose another verifier"
            )

    def passes(self, program: str, tests: str) -> bool:
        """Whether the program and then its tests run to their end without an error, and tests that cannot pass do not.

        The tests run in the program's own interpreter, which the program could have tampered with: then it passes anything.
        """
        return self.test(program, tests).is_done

    def test(self, program: str, tests: str) -> Ran:
        """As `passes`; `is_done` says whether it does, `is_isolated` whether this host could run it."""
        ran = self._runs(program, tests)
        if not ran.is_done:
            return ran
        tampered = self._runs(program, sabotaged(tests, secrets.token_hex(8)))
        return Ran(not tampered.is_done, detail="passes tests that cannot be passed", is_isolated=tampered.is_isolated)

    def pass_each(self, programs: list[tuple[str, str]]) -> list[bool]:
        """As `passes` for each (program, tests) pair, as many at once as there are cores."""
        with ThreadPoolExecutor(usable_cores()) as pool:
            return list(pool.map(lambda pair: self.passes(*pair), programs))

    def run(self, program: str, stdin: str) -> Ran:
        """Run the program as a script that reads `stdin`."""
        return self._run(_STDIN, _packed(program, stdin))

    def call(self, program: str, name: str, arguments: Sequence[object]) -> Ran:
        """Call the program's function of this name; `out` is the JSON of what it returns."""
        token = secrets.token_hex(16)
        ran = self._run(_CALL, _packed(program, json.dumps([token, name, list(arguments)])))
        _, found, said = ran.out.rpartition(token.encode())
        return Ran(ran.is_done and bool(found), said, ran.detail, ran.is_isolated)

    def _runs(self, program: str, tests: str) -> Ran:
        token = secrets.token_hex(16)
        ran = self._run(_TESTS, _packed(token, program, tests))
        return Ran(ran.is_done and token.encode() in ran.out, b"", ran.detail, ran.is_isolated)

    def _run(self, harness: str, stdin: bytes) -> Ran:
        with tempfile.TemporaryDirectory(prefix="synth-ray-sandbox-") as root:
            process = self.start(root, harness)
            try:
                return _run_to_end(process, stdin, self._limits.seconds)
            finally:
                kill(process)

    def start(
        self, root: str, harness: str, *, readable: Sequence[str] = (), cpu_s: int | None = None
    ) -> subprocess.Popen[bytes]:
        """An isolated process that runs the Python code `harness`. `root` is an empty folder of its own; `readable` are folders
        that it may read beside the interpreter's. The caller kills it.
        """
        limits = self._limits
        settings = {
            "root": root,
            "readable": [*self._readable, *readable],
            "python": os.path.realpath(sys.executable),
            "memory": limits.memory_bytes,
            "cpu_s": cpu_s or int(limits.seconds) + 1,
            "disk": limits.disk_bytes,
            "harness": harness,
        }
        return subprocess.Popen(
            [str(settings["python"]), "-I", "-S", "-B", str(Path(sandbox_child.__file__)), json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            start_new_session=True,
        )


def _packed(*texts: str) -> bytes:
    return b"\0".join(text.replace("\0", " ").encode("utf-8", "replace") for text in texts)


_MAX_OUTPUT = 1 << 20


def _run_to_end(process: subprocess.Popen[bytes], stdin: bytes, seconds: float) -> Ran:
    """Wait until the program ends or its time is up. Only the last MiB of output is kept."""
    timer = ThreadPoolExecutor(1)
    try:
        out = timer.submit(_communicate, process, stdin).result(timeout=seconds)
    except TimeoutError:
        return Ran(False, detail=f"not done after {seconds:g} s")
    finally:
        kill(process)
        timer.shutdown(wait=False)
    if process.returncode == sandbox_child.NO_ISOLATION:
        return Ran(False, detail=out.decode("utf-8", "replace")[:200], is_isolated=False)
    return Ran(process.returncode == 0, out, "" if process.returncode == 0 else "ended with an error")


def _communicate(process: subprocess.Popen[bytes], stdin: bytes) -> bytes:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(stdin)
        process.stdin.close()
    except BrokenPipeError:
        pass  # it ended before reading all its input: the exit code says why
    out = bytearray()
    while piece := process.stdout.read(1 << 16):
        out += piece
        if len(out) > 2 * _MAX_OUTPUT:
            del out[:-_MAX_OUTPUT]
    process.wait()
    return bytes(out[-_MAX_OUTPUT:])


def kill(process: subprocess.Popen[bytes]) -> None:
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
