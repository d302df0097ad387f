"""Targets: what is evaluated, and what judges. Each is a teacher: a server, a Python function, or a script."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import inspect
import os
import re
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from synth_ray.ask.engines import make_teacher
from synth_ray.ask.teacher import Load, Prompt, Teacher, TeacherFacts
from synth_ray.errors import AskFailed, JobError
from synth_ray.job.models import Model
from synth_ray.job.script import Script
from synth_ray.job.served import Endpoint
from synth_ray.recipes.contract import Completion
from synth_ray.recipes.templates import compile_template
from synth_ray.records import Message, Reason

_FUNCTION = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
RETRIES = 3
"""Retries of one ask of a server: an evaluation is small, and a server that fails often is itself a result."""
_PAUSES_S = 10.0
"""More than the pauses between these tries: one case that hangs fails before the silence counts as the server's death."""


@dataclass(frozen=True, slots=True)
class Target:
    """A teacher, its name for people, and everything that tells it from another: with another identity, every case is asked
    again. The identity of a function has the digest of its file; nothing is known of a server but its address.
    """

    name: str
    teacher: Teacher
    identity: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a target is, as said on the command line by `option`. `timeout_s` is for one try, `in_flight` for the whole."""

    address: str
    model: str = ""
    key_env: str = ""
    in_flight: int = 16
    timeout_s: float = 120.0
    option: str = "--target"


def open_target(place: Place) -> Target:
    """The target at a place; not opened yet. Raises JobError where the place is none, or a function cannot be imported."""
    address = place.address
    if address.startswith(("http://", "https://")):
        return _server(place)
    if address == "scripted" or address.startswith("scripted:"):
        return _script(address.partition(":")[2])
    if _FUNCTION.fullmatch(address):
        function = _import(address, place.option)
        return Target(address, FunctionTeacher(function, place), {"function": address, "source": _digest_of(function)})
    raise JobError(
        f"{place.option}: wanted a URL as https://host/v1, a function as package.module:function, or scripted, got "
        f"'{address[:80]}'"
    )


def _server(place: Place) -> Target:
    option = place.option
    if not place.model:
        named = "--model" if option == "--target" else f"{option}-model"
        raise JobError(f"{named}: wanted the name of a model that {place.address} serves, got none; add {named} NAME")
    try:
        served = Endpoint(
            urls=[place.address],
            key_env=place.key_env,
            concurrency=place.in_flight,
            timeout_s=place.timeout_s,
            retries=RETRIES,
            dead_after_s=(RETRIES + 1) * place.timeout_s + _PAUSES_S,
        )
    except ValidationError as error:
        raise JobError("; ".join(f"{option}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors())) from None
    model = Model(engine="endpoint", model=place.model, endpoint=served)
    name = f"{place.model} at {served.urls[0]}"
    return Target(name, make_teacher(model), model.identity() | {"url": served.urls[0]})


def _script(template: str) -> Target:
    if template:
        compile_template(template)
    model = Model(engine="scripted", script=Script(answers=[template] if template else []))
    return Target("scripted", make_teacher(model), model.identity())


def _import(address: str, option: str) -> Callable[..., Any]:
    """The function. Modules of the working folder are found, as with `python -m`."""
    module, _, name = address.partition(":")
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        function = getattr(importlib.import_module(module), name, None)
    except Exception as error:
        # Whatever the module does when it is imported; the message may be long, so only the type and the place are told.
        raise JobError(
            f"{option}: wanted to import '{module}', got {_raised(error)}; is it on PYTHONPATH, and does it import by itself?"
        ) from None
    if not callable(function):
        raise JobError(f"{option}: wanted a function '{name}' in module '{module}', got {type(function).__name__}; add it")
    return function  # type: ignore[no-any-return]


def _digest_of(function: Callable[..., Any]) -> str:
    """The digest of the file that defines the function; empty where there is none, as for an object that is called."""
    with suppress(TypeError, OSError):
        return hashlib.sha256(Path(inspect.getfile(function)).read_bytes()).hexdigest()
    return ""


class FunctionTeacher:
    """A function from messages to text, plain or `async`.

    Law: whatever it raises fails one case and is told by its type and place, never by its message, which may quote the case. A
    plain function runs on a thread of its own, which is left behind when its time is up.
    """

    def __init__(self, function: Callable[..., Any], place: Place) -> None:
        self._function = function
        self._place = place

    def open(self) -> TeacherFacts:
        return TeacherFacts("function", self._place.address, "", max_running=self._place.in_flight, max_model_len=1 << 20)

    async def answer(self, prompt: Prompt) -> list[Completion]:
        return [await self._one(prompt) for _ in range(prompt.n)]

    async def _one(self, prompt: Prompt) -> Completion:
        messages: list[Message] = [dict(turn) for turn in prompt.messages]
        try:
            async with asyncio.timeout(self._place.timeout_s) as limit:
                text = await self._call(messages)
        except BaseException as error:  # SystemExit too: the function may call sys.exit
            if isinstance(error, KeyboardInterrupt) or _is_cancelled():
                raise
            if limit.expired():
                raise AskFailed(Reason.DEADLINE, f"not done after {self._place.timeout_s:g} s") from None
            raise AskFailed(Reason.ENGINE_ERROR, f"the function raised {_raised(error)}") from None
        if not isinstance(text, str):
            raise AskFailed(Reason.ENGINE_ERROR, f"the function returned {type(text).__name__}, not text")
        return Completion(text, "stop", None, None)

    async def _call(self, messages: list[Message]) -> Any:
        if inspect.iscoroutinefunction(self._function) or inspect.iscoroutinefunction(getattr(self._function, "__call__", None)):  # noqa: B004
            return await self._function(messages)
        result = await _on_thread(self._function, messages)
        return await result if inspect.isawaitable(result) else result

    def load(self) -> Load:
        return Load()

    def close(self) -> None:
        pass


async def _on_thread(function: Callable[..., Any], messages: list[Message]) -> Any:
    """Call on a daemon thread: one that never ends must not keep the program from ending."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()

    def settle(outcome: tuple[Any, BaseException | None]) -> None:
        if not done.done():
            done.set_result(outcome)

    def call() -> None:
        try:
            outcome: tuple[Any, BaseException | None] = (function(messages), None)
        except BaseException as error:
            outcome = (None, error)
        with suppress(RuntimeError):  # the loop has ended: nobody waits any more
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=call, name="target", daemon=True).start()
    value, error = await done
    if error is not None:
        raise error
    return value


def _is_cancelled() -> bool:
    """Whether this task is being cancelled; a function may raise CancelledError by itself."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _raised(error: BaseException) -> str:
    """An exception for people: its type, and the line that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else type(error).__name__
