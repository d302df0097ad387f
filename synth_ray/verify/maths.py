"""Mathematics beyond arithmetic: expressions, sets, intervals, equations, by Math-Verify in sandboxed processes.

Math-Verify decides by computer algebra, which may take any time and memory (9^9^9^9), and its own time limits fail off the main
thread; so each of a few long-lived processes compares pairs at milliseconds each, and one that takes too long is killed.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sysconfig
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from synth_ray.errors import MissingResource
from synth_ray.job.cores import usable_cores
from synth_ray.verify.process_pool import ProcessPool
from synth_ray.verify.sandbox import Limits, Sandbox
from synth_ray.verify.verdict import Verdict, Verified, VerifierFailed

_ONE_MONTH_S = 30 * 24 * 3600
_DETAILS = {"wrong": "another value", "no_answer": "no expression that can be read", "unverifiable": "the gold cannot be read"}


def require_math_verify(asked_by: str) -> None:
    """Raise MissingResource where Math-Verify is not installed, or this host cannot isolate it."""
    if importlib.util.find_spec("math_verify") is None:
        raise MissingResource(
            f"{asked_by}: wanted the package 'math-verify' for this verifier, got an installation without it; "
            "pip install 'synth-ray[math]', or choose another verifier"
        )
    Sandbox().probe(asked_by=asked_by)


class MathVerifier:
    """See `verdict.Verifier`. The gold is an expression, in LaTeX or plain, or a worked answer that ends with one."""

    is_quick = False

    def __init__(self, *, seconds: float = 10.0, memory_bytes: int = 1_000_000_000, processes: int | None = None) -> None:
        limits = Limits(seconds, memory_bytes)
        size = processes or min(4, usable_cores())
        self._pool = ProcessPool(lambda stack: _start(stack, limits), seconds=seconds, size=size)

    def fault_of(self, gold: Any) -> str:
        text = _text(gold)
        if not text.strip():
            return "the gold is no text"
        word, _ = self._asked("gold", "", text)
        return "" if word == Verdict.RIGHT else _DETAILS["unverifiable"]

    def verify(self, answer: str, gold: Any) -> Verified:
        if not answer.strip():
            return Verified(Verdict.NO_ANSWER, "no text")
        try:
            word, final = self._asked("pair", answer, _text(gold))
        except VerifierFailed as error:
            return Verified(Verdict.VERIFIER_FAILED, str(error))
        return Verified(word, _DETAILS.get(word, ""), final)

    def _asked(self, kind: str, answer: str, gold: str) -> tuple[Verdict, str]:
        said = self._pool.ask([kind, answer, gold])
        if not isinstance(said, list) or len(said) != 2 or not all(isinstance(part, str) for part in said):
            raise VerifierFailed("answered what is no answer")
        if said[0] == Verdict.VERIFIER_FAILED or said[0] not in tuple(Verdict):
            raise VerifierFailed(f"ended with {said[1][:60]}")
        return Verdict(said[0]), said[1]

    def close(self) -> None:
        self._pool.close()


def _start(stack: ExitStack, limits: Limits) -> subprocess.Popen[bytes]:
    root = stack.enter_context(tempfile.TemporaryDirectory(prefix="synth-ray-sandbox-"))
    paths = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), _folder_of("math_verify")})
    source = Path(__file__).with_name("math_child.py").read_text()
    return Sandbox(limits).start(root, f"PATHS = {paths!r}\n{source}", readable=paths, cpu_s=_ONE_MONTH_S)


def _folder_of(package: str) -> str:
    return str(Path(str(importlib.metadata.distribution(package.replace("_", "-")).locate_file(""))).resolve())


def _text(gold: Any) -> str:
    return gold if isinstance(gold, str) else str(gold) if isinstance(gold, int | float) else ""
