"""Which request a task belongs to, also one that a recipe began by itself, as `asyncio.gather` and task groups do."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from contextvars import Context, ContextVar
from typing import Any
from weakref import WeakKeyDictionary

from synth_ray.records import Request

_REQUEST: ContextVar[Request] = ContextVar("request")


class RecipeTasks:
    """The tasks of one event loop. A task inherits the context in which it was created, and its request with it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._requests: WeakKeyDictionary[asyncio.Task[Any], Request] = WeakKeyDictionary()
        loop.set_task_factory(self._create)

    def start(self, request: Request, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task of the request, whoever calls."""
        context = Context()
        context.run(_REQUEST.set, request)
        return self._loop.create_task(work, context=context)

    def request_of(self, task: asyncio.Task[Any] | None) -> Request | None:
        """None for a task that no request began. Any thread may ask."""
        return self._requests.get(task) if task is not None else None

    def _create(
        self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any] | Generator[Any, None, Any], **options: Any
    ) -> asyncio.Task[Any]:
        """`options` are those of `create_task`: a context, where the caller gives one."""
        task = asyncio.Task(work, loop=loop, **options)
        context: Context | None = options.get("context")
        request = _REQUEST.get(None) if context is None else context.get(_REQUEST)
        if request is not None:
            self._requests[task] = request
        return task
