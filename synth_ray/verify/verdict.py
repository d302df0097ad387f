"""The verdict on an answer, and what a verifier is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol


class Verdict(StrEnum):
    """RIGHT and WRONG are about the answer. NO_ANSWER: the text has none that can be read. UNVERIFIABLE: the gold is at fault, or
    the verifier abstains. VERIFIER_FAILED: it hung, crashed, or said what no verdict is.
    """

    RIGHT = "right"
    WRONG = "wrong"
    NO_ANSWER = "no_answer"
    UNVERIFIABLE = "unverifiable"
    VERIFIER_FAILED = "verifier_failed"


@dataclass(frozen=True, slots=True)
class Verified:
    """A verdict, why, and the final answer in a form that equal answers share ('' where the verifier knows none).

    `detail` has no text of the answer or its gold.
    """

    verdict: Verdict
    detail: str = ""
    final: str = ""


class Verifier(Protocol):
    """Gives verdicts. Both methods may block for as long as the verifier's limits allow, and may be called by several threads."""

    is_quick: bool
    """It takes microseconds and starts no process, so it may be called where nothing may block."""

    def fault_of(self, gold: Any) -> str:
        """Why no answer can be held against this gold, or ''. Asked before any answer exists. Raises VerifierFailed."""
        ...

    def verify(self, answer: str, gold: Any) -> Verified:
        """The verdict on an answer to a question whose gold has no fault."""
        ...

    def close(self) -> None:
        """End the processes that it started."""
        ...


class VerifierFailed(Exception):
    """A verifier did not give a verdict. The message says how, without text of a row."""


def decided(is_right: bool, detail: str, final: str = "") -> Verified:
    return Verified(Verdict.RIGHT, "", final) if is_right else Verified(Verdict.WRONG, detail, final)
