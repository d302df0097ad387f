"""A verifier of the user's own: `package.module:function`, called as `function(answer, gold)` -> bool, 0 to 1, or None.

It runs in processes of its own under a time limit, with the rights of this user: it is the user's code. What it cannot say in
time, or says in another form, is no verdict.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from synth_ray.job.cores import usable_cores
from synth_ray.verify.process_pool import ProcessPool
from synth_ray.verify.verdict import Verdict, Verified, VerifierFailed, decided

RAISED = "raised "
"""How the process of a function says that it raised."""
NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
"""The name of a user's function."""


class FunctionVerifier:
    """See `verdict.Verifier`. A number counts as right from `right_from` on; None abstains."""

    is_quick = False

    def __init__(self, name: str, *, seconds: float = 10.0, right_from: float = 0.5, processes: int | None = None) -> None:
        self._right_from = right_from
        size = processes or min(4, usable_cores())
        self._pool = ProcessPool(lambda stack: _start(stack, name), seconds=seconds, size=size)

    def fault_of(self, gold: Any) -> str:
        """Besides, that it is sane: an empty answer must not be right. It may raise at one, which `verify` never gives it."""
        try:
            is_right = self._value("", gold)
        except VerifierFailed as error:
            if not str(error).startswith(RAISED):
                raise
            return ""
        if is_right is True:
            raise VerifierFailed("says that an empty answer is right")
        return ""

    def verify(self, answer: str, gold: Any) -> Verified:
        if not answer.strip():
            return Verified(Verdict.NO_ANSWER, "no text")
        try:
            value = self._value(answer, gold)
        except VerifierFailed as error:
            return Verified(Verdict.VERIFIER_FAILED, str(error))
        return decided(value, "the function says so") if value is not None else Verified(Verdict.UNVERIFIABLE, "it abstains")

    def _value(self, answer: str, gold: Any) -> bool | None:
        said = self._pool.ask([answer, gold])
        if not isinstance(said, dict) or "value" not in said:
            raise VerifierFailed(str(said.get("error", "no verdict"))[:120] if isinstance(said, dict) else "no verdict")
        value = said["value"]
        return value if isinstance(value, bool | None) else value >= self._right_from

    def close(self) -> None:
        self._pool.close()


def require_function(name: str) -> None:
    """Raise VerifierFailed where the function cannot be imported in a process of its own."""
    with ExitStack() as stack:
        pool = ProcessPool(lambda inner: _start(inner, name), seconds=10.0, size=1)
        stack.callback(pool.close)
        pool.start_one()


def _start(_stack: ExitStack, name: str) -> subprocess.Popen[bytes]:
    paths = os.pathsep.join(path for path in sys.path if path)
    return subprocess.Popen(
        [sys.executable, "-P", str(Path(__file__).with_name("function_child.py")), name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [os.getcwd(), paths]))},
        start_new_session=True,
    )
