"""A program may compute and nothing else, and a host that cannot isolate programs stops the job."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from synth_ray.check.checker import open_checker
from synth_ray.errors import MissingResource
from synth_ray.job.check import Check
from synth_ray.records import STAGED
from synth_ray.verify.sandbox import Limits, Sandbox, program_in
from tests.rows import staged_row

SANDBOX = Sandbox(Limits(seconds=3))


@pytest.fixture(autouse=True, scope="module")
def isolating() -> None:
    """Skip these tests on a host that cannot isolate programs."""
    try:
        SANDBOX.probe()
    except MissingResource as error:
        pytest.skip(str(error))


CONTAINED = {
    "a wrong answer": "raise AssertionError",
    "an early exit": "import sys; sys.exit(0)",
    "an early exit of the process": "import os; os._exit(0)",
    "a socket": "import socket; socket.socket()",
    "a fork": "import os; os.fork()",
    "a fork bomb": "import os\nwhile True:\n    os.fork()",
    "a shell": "import subprocess; subprocess.run(['/bin/sh', '-c', 'true'], check=True)",
    "ten gigabytes": "held = bytearray(10 * 2**30)",
    "the process list": "import os; os.listdir('/proc')",
    "another's environment": "open('/proc/1/environ').read()",
    "the home folder": f"import os; assert set(os.listdir({str(Path.home())!r})) - {{'.pyenv'}}",
    "this project": f"import os; os.listdir({str(Path(__file__).parent)!r})",
    "the users": "open('/etc/passwd').read()",
    "a write outside": "open('/usr/lib/mine', 'w').write('x')",
    "a full disk": "f = open('/box/x', 'wb')\nwhile True:\n    f.write(b'x' * 10**6)",
    "an endless loop": "while True: pass",
    "an endless sleep": "import time; time.sleep(1000)",
    "endless output": "while True: print('x' * 10000)",
    "a signal": "import os; os.kill(os.getppid(), 9)",
    "a way out of the root": "import os; os.mkdir('x'); os.chroot('x')",
    "a namespace of its own": "import ctypes; assert ctypes.CDLL(None).unshare(0x10000000) == 0",
    "a mount": "import ctypes; assert ctypes.CDLL(None).mount(b'x', b'/box', b'tmpfs', 0, None) == 0",
    "a device": "open('/dev/mem')",
    "a debugger": "import ctypes; assert ctypes.CDLL(None).ptrace(0, 0, 0, 0) == 0",
    "a device of its own": "import os; os.mknod('/box/d', 0o20666, os.makedev(1, 1)); open('/box/d').read(1)",
}


@pytest.mark.parametrize("program", CONTAINED.values(), ids=CONTAINED)
def test_a_hostile_program_is_contained(program: str) -> None:
    assert not SANDBOX.passes(program, "")


def test_honest_programs_pass_their_tests_and_see_nothing_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "seen")
    honest = {
        "def add(a, b):\n    return a + b": "assert add(1, 2) == 3",
        "print('talks')\nimport json, math, re, dataclasses": "assert json.loads('[1]') == [1]",
        "import threading\nf = []\nt = threading.Thread(target=f.append, args=(1,)); t.start(); t.join()": "assert f == [1]",
        "open('mine', 'w').write('x')": "assert open('/box/mine').read() == 'x'",
        "import os": "assert not set(os.environ) - {'LC_CTYPE'} and os.getpid() == 1 and os.listdir('/box') == []",
        "if __name__ == '__main__':\n    raise SystemExit(1)": "",
    }
    patient = Sandbox(Limits(seconds=60))
    assert patient.pass_each(list(honest.items())) == [True] * len(honest)
    assert not patient.passes("def add(a, b):\n    return a - b", "assert add(1, 2) == 3")


def test_a_stopped_program_leaves_no_process_and_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert not Sandbox(Limits(seconds=0.5)).passes("import time\nwhile True: time.sleep(1)  # mark 7531", "")
    assert list(tmp_path.iterdir()) == []
    processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in processes


def test_a_host_without_isolation_stops_the_job() -> None:
    code = "from synth_ray.verify.sandbox import Sandbox; Sandbox().probe()"
    without_namespaces = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$0" -c "$1"'
    result = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", without_namespaces, sys.executable, code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert "MissingResource: check.verify: wanted a host that can isolate a program" in result.stderr
    assert "unshare" in result.stderr


def test_the_code_verifier_runs_the_code_of_an_answer_with_the_tests_of_its_row() -> None:
    assert program_in("Here:\n```python\nx = 1\n```\nDone.") == "x = 1\n"
    assert program_in("x = 1") == "x = 1"
    rows = [
        staged_row(n, completion=f"Sure!\n```python\ndef f(x):\n    return {body}\n```", fields='{"tests":"assert f(2) == 4"}')
        for n, body in enumerate(("x * x", "x + 3"))
    ]
    flags = open_checker(Check(verify="code")).flag_rows(pa.Table.from_pylist(rows, schema=STAGED))["flags"].to_pylist()
    assert flags == [[], ["not_true"]]
