"""The process in which functions run. Imports only the standard library and the job's own modules.

One line of JSON is a request: `{"describe": "module:function"}` or `{"call": "module:function", "arguments", "state", "seconds",
"limit"}`. One line of JSON answers it. Each call runs in a fork of its own, so that what it leaves in memory is gone with it; the
modules are imported once. The process ends with its standard input.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from synth_ray.toolbox.signature import STATE, describe, takes_state

_LONGEST_ERROR = 500


def main() -> None:
    """Serve requests until standard input ends. What functions print goes nowhere: stdout is for answers."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
    for line in sys.stdin.buffer:
        request = json.loads(line)
        answer = _description(request["describe"]) if "describe" in request else _called_apart(request)
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def _function(name: str) -> Callable[..., Any]:
    module, _, attribute = name.partition(":")
    function = getattr(importlib.import_module(module), attribute)
    if not callable(function):
        raise TypeError(f"'{attribute}' is no function")
    return function  # type: ignore[no-any-return]


def _description(name: str) -> dict[str, Any]:
    """What the function says of itself; without `parameters` where its signature does not tell, and `unknown` says why."""
    try:
        function = _function(name)
    except Exception as error:
        return {"error": _told(error)}
    try:
        description, parameters = describe(function)
    except Exception as error:
        return {"description": inspect.getdoc(function) or "", "unknown": str(error)[:_LONGEST_ERROR]}
    return {"description": description, "parameters": parameters}


def _called_apart(request: dict[str, Any]) -> dict[str, Any]:
    """The answer of a fork. It is killed when its time is up."""
    try:
        function = _function(request["call"])
    except Exception as error:
        return {"failure": f"cannot be imported ({type(error).__name__})"}
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _answer_and_exit(function, request, writing)
    os.close(writing)
    data = _read_until(reading, time.monotonic() + request["seconds"])
    os.close(reading)
    if data is None:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if data is None:
        return {"failure": f"not done after {request['seconds']:g} s"}
    if not data:
        return {"failure": f"its process ended with {os.waitstatus_to_exitcode(status)}"}
    return json.loads(data)  # type: ignore[no-any-return]


def is_readable(pipe: int, deadline: float) -> bool:
    """Wait until a pipe has data or has ended; False where that is not so at the deadline, a time of the monotonic clock."""
    poll = select.poll()  # select.select refuses numbers from 1024 on, which a busy process has
    poll.register(pipe, select.POLLIN)
    return bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))


def _read_until(pipe: int, deadline: float) -> bytes | None:
    """All that comes through a pipe; None where it is still open at the deadline."""
    data = b""
    while True:
        if not is_readable(pipe, deadline):
            return None
        piece = os.read(pipe, 1 << 16)
        if not piece:
            return data
        data += piece


def _answer_and_exit(function: Callable[..., Any], request: dict[str, Any], pipe: int) -> None:
    try:
        data = json.dumps(_called(function, request)).encode()
        while data:
            data = data[os.write(pipe, data) :]
    finally:
        os._exit(0)


def _called(function: Callable[..., Any], request: dict[str, Any]) -> dict[str, Any]:
    """The result, and the state after it; of a function that raises, the error, and no state: it changed nothing."""
    arguments, state = request["arguments"], request["state"]
    try:
        value = function(**arguments, **({STATE: state} if STATE not in arguments and takes_state(function) else {}))
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return {"text": cut(text, request["limit"]), "state": json.loads(json.dumps(state))}
    except BaseException as error:  # a tool is user code: SystemExit and KeyboardInterrupt are errors of it, too
        return {"error": _told(error)}


def cut(text: str, limit: int) -> str:
    """The text in at most `limit` bytes of UTF-8, with a note where it was longer: the model must know."""
    data = text.encode("utf-8", "replace")
    if len(data) <= limit:
        return data.decode()
    note = f"\n[cut: {limit} of {len(data)} bytes]"
    return data[: max(0, limit - len(note))].decode("utf-8", "ignore") + note


def _told(error: BaseException) -> str:
    """Type and message, without a traceback: what a model can act on."""
    return "".join(traceback.format_exception_only(error)).strip()[-_LONGEST_ERROR:]
