"""Tools for the tests: an order desk with a state, and functions that misbehave."""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path
from typing import Any, Literal


def look_up(order: str, state: dict[str, Any]) -> dict[str, Any]:
    """Look up an order.

    Args:
        order: the order's number, as
            KZ-48802
    """
    return state["orders"][order]


def refund(order: str, cents: int, state: dict[str, Any], why: Literal["late", "broken"] = "late") -> str:
    """Refund part of an order."""
    state["orders"][order]["refunded"] = cents
    if cents > state["orders"][order]["paid"]:
        raise ValueError(f"order {order} was paid {state['orders'][order]['paid']} cents")
    return f"refunded {cents} ({why})"


def count(file: str, mark: str = "x") -> str:
    """Write one mark to a file."""
    with open(file, "a") as out:
        out.write(mark)
    return Path(file).read_text()


def hang() -> str:
    """Hang."""
    time.sleep(600)
    return ""


def die() -> str:
    """Die."""
    os._exit(3)


def shout(times: int) -> str:
    """Shout."""
    sys.stdout.write("this must not reach the answers")
    return "ä" * times


def connect(host: str) -> str:
    """Connect."""
    socket.create_connection((host, 80), timeout=2)
    return "connected"


def spy(path: str) -> str:
    """Read a file."""
    return Path(path).read_text()


def variables() -> list[str]:
    """The values of all environment variables."""
    return sorted(os.environ.values())


def without_types(order):  # type: ignore[no-untyped-def]
    """No types."""
    return order


_words: list[str] = []


def remember(word: str) -> list[str]:
    """Remember a word."""
    _words.append(word)
    return _words


def refunded_as_asked(state: dict[str, Any], seed: dict[str, Any]) -> bool:
    return share_refunded(state, seed) == 1


def share_refunded(state: dict[str, Any], seed: dict[str, Any]) -> float:
    return state["orders"]["KZ-1"].get("refunded", 0) / seed["wanted"]


def what_is_wrong(state: dict[str, Any], seed: dict[str, Any]) -> str | bool:
    refunded = state["orders"]["KZ-1"].get("refunded", 0)
    return refunded == seed["wanted"] or f"{refunded} of {seed['wanted']} cents"


def mark(file: str) -> str:
    """Write one mark beside the others, then wait until there is a file `<file>.go`."""
    with open(file, "a") as out:
        out.write("x")
    return wait(file)


def wait(file: str) -> str:
    """Wait until there is a file `<file>.go`."""
    while not Path(f"{file}.go").exists():
        time.sleep(0.01)
    return "gone"


def refunded_first(state: dict[str, Any], seed: dict[str, Any]) -> bool:
    [order] = state["orders"].values()
    return order.get("refunded") == seed["wanted"]


def calculator(expression: str) -> int:
    """Works out an arithmetic expression.

    Args:
        expression: For example 12 * 7
    """
    left, sign, right = expression.split()
    return {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}[sign](int(left), int(right))
