"""A proxy in a process of its own, which cuts the connection at the n-th write: some libraries wait for an answer while they hold
Python's lock, and a thread could not give it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.child_processes import kill, line_of
from tests.conftest import ROOT
from tests.proxy import SeenRequest, proxy_to

WRITES = ("PUT", "POST", "DELETE")


@dataclass(frozen=True, slots=True)
class CuttingProxy:
    """`url` leads to the server. Writes are counted from 0 since the last call of `cut` or `mend`."""

    url: str
    process: subprocess.Popen[str]

    def cut(self, at: int, *, after: bool, for_good: bool) -> None:
        """Cut the connection at this write, before the server has it or `after`; `for_good` at every later request, too."""
        self._tell({"at": at, "after": after, "for_good": for_good})

    def mend(self) -> int:
        """Let everything through. Returns the writes seen so far."""
        return self._tell({"at": None})

    def _tell(self, order: dict[str, Any]) -> int:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return int(line_of(self.process))


@contextmanager
def cutting_proxy_to(server_url: str) -> Iterator[CuttingProxy]:
    command = [sys.executable, "-m", "tests.cutting_proxy", server_url]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield CuttingProxy(line_of(process), process)
        finally:
            kill(process)


def _plan(order: dict[str, Any], state: dict[str, Any]) -> Callable[[SeenRequest], str | None]:
    def plan(seen: SeenRequest) -> str | None:
        if state["dead"]:
            return "reset_before"
        if seen.method not in WRITES:
            return None
        state["writes"] += 1
        if order["at"] != state["writes"] - 1:
            return None
        state["dead"] = order["for_good"]
        return "reset_after" if order["after"] else "reset_before"

    return plan


def _serve(server_url: str) -> None:
    with proxy_to(server_url) as proxy:
        state: dict[str, Any] = {"writes": 0, "dead": False}
        proxy.plan = _plan({"at": None}, state)
        _say(proxy.url)
        for line in sys.stdin:
            writes, state = state["writes"], {"writes": 0, "dead": False}
            proxy.plan = _plan(json.loads(line), state)
            _say(str(writes))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _serve(sys.argv[1])
