"""A recipe that misbehaves in the way that its request's prompt names."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from synth_ray.errors import AskFailed
from synth_ray.job.section import Section
from synth_ray.recipes.contract import Ask, Recipe, drafted, user
from synth_ray.records import Draft, Request


class Junk(Section):
    """No options."""


class OfItsOwn(BaseException):
    """What no `except Exception` catches."""


def _raising(error: BaseException) -> Callable[[Request, Ask], Any]:
    def make(request: Request, ask: Ask) -> Any:
        raise error

    return make


def _endless(request: Request, ask: Ask) -> Any:
    return _endless(request, ask)


def _changing(request: Request, ask: Ask) -> Any:
    request.seed.fields["prompt"] = "changed"
    return [Draft([user("a")], "b")]


def _circular(request: Request, ask: Ask) -> Any:
    fields: dict[str, Any] = {}
    fields["own"] = fields
    return [Draft([user("a")], "b", fields)]


def _draft(**wrong: Any) -> Callable[[Request, Ask], Any]:
    return lambda request, ask: [Draft(**{"prompt": [user("a")], "completion": "b"} | wrong)]


JUNK: dict[str, Callable[[Request, Ask], Any]] = {
    "None": lambda request, ask: None,
    "text": lambda request, ask: "a row",
    "generator": lambda request, ask: (draft for draft in ()),
    "coroutine": lambda request, ask: ask([user("a")]),
    "texts": lambda request, ask: ["a", "b"],
    "nothing": lambda request, ask: [],
    "SystemExit": _raising(SystemExit(3)),
    "KeyboardInterrupt": _raising(KeyboardInterrupt()),
    "CancelledError": _raising(asyncio.CancelledError()),
    "TimeoutError": _raising(TimeoutError()),
    "MemoryError": _raising(MemoryError()),
    "GeneratorExit": _raising(GeneratorExit()),
    "BaseException": _raising(OfItsOwn()),
    "StopIteration": _raising(StopIteration()),
    "AskFailed": _raising(AskFailed("no such reason", "")),
    "recursion": _endless,
    "changes its request": _changing,
    "circular fields": _circular,
    "prompt None": _draft(prompt=None),
    "prompt of texts": _draft(prompt=["a"]),
    "prompt of numbers": _draft(prompt=[{"role": "user", "content": 5}]),
    "completion None": _draft(completion=None),
    "completion bytes": _draft(completion=b"a"),
    "fields None": _draft(fields=None),
    "fields of sets": _draft(fields={"a": {1}}),
    "fields by number": _draft(fields={1: "a"}),
    "reason text": _draft(reason="too_short"),
    "tokens text": _draft(prompt_tokens="many"),
    "tokens truth": _draft(prompt_tokens=True),
    "tokens beyond": _draft(completion_tokens=2**70),
    "detail number": _draft(detail=3),
    "logprobs number": _draft(logprobs=3),
    "logprobs of texts": _draft(logprobs=["a"]),
    "logprobs of others": _draft(logprobs=[{"token": 3, "id": "x", "logprob": "y", "top": 4}]),
    "embedding text": _draft(embedding="a"),
    "top_k text": _draft(top_k="a"),
}
"""Ways that end as recipe_error, each with what it does."""


async def make(request: Request, ask: Ask, options: Junk) -> Any:
    kind = request.seed.fields["prompt"]
    if kind in JUNK:
        return JUNK[kind](request, ask)
    if kind == "never ends":
        await asyncio.Event().wait()
    while kind == "cannot be cancelled":
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0.05)
    if kind == "numpy counts":
        return [Draft([user("a")], "b", prompt_tokens=np.int64(3), completion_tokens=np.uint16(4))]
    if kind == "blocks the loop in a task of its own":
        await asyncio.gather(_block(8))
    if kind == "leaves tasks":
        asyncio.get_running_loop().create_task(_stray(ask))
    return [drafted(kind, await ask([user(kind)]))]


async def _block(seconds: float) -> None:
    threading.Event().wait(seconds)


async def _stray(ask: Ask) -> None:
    while True:
        await ask([user("of nobody")])


RECIPE = Recipe(name="junk", options=Junk, make=make)
