"""All tools of one worker: described when it opens, called by name, ended when it closes."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

from synth_ray.errors import JobError
from synth_ray.job.cores import usable_cores
from synth_ray.toolbox.functions import FunctionPool, no_begin
from synth_ray.toolbox.launch import require_isolation
from synth_ray.toolbox.mcp_server import McpServer, require_mcp
from synth_ray.toolbox.programs import Called, Face, Program

T = TypeVar("T")

_OPEN_S, _CLOSE_S = 120.0, 15.0


class Toolbox:
    """Thread-safe. Functions that may see the same things share processes; each MCP server has one process."""

    def __init__(self, programs: Sequence[Program]) -> None:
        self._programs = list(programs)
        self._size = max(2, usable_cores())
        self._threads = ThreadPoolExecutor(self._size, thread_name_prefix="tools")
        self._pools: dict[Program, FunctionPool] = {}
        self._servers: dict[int, McpServer] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="mcp", daemon=True)
        self.faces: dict[str, Face] = {}

    def open(self) -> None:
        """Raises JobError for a tool that is not there, has no schema, or shares its name with another, and MissingResource where
        this host cannot run it.
        """
        self._thread.start()
        names = [program.name for program in self._programs if not program.function and not program.command]
        try:
            for program in dict.fromkeys(_sight_of(program) for program in self._programs if program.function or program.command):
                require_isolation(program)
            faces = [face for source, program in enumerate(self._programs) for face in self._faces(source, program)]
        except BaseException:
            self.close()
            raise
        for face in faces:
            if face.name in names:
                self.close()
                raise JobError(
                    f"recipe.tools: wanted tools of different names, got '{face.name}' twice; allow it in one place alone"
                )
            names.append(face.name)
        self.faces = {face.name: face for face in faces}

    def _faces(self, source: int, program: Program) -> list[Face]:
        if program.command:
            require_mcp()
            server = self._servers[source] = self._on_loop(_made(program, source))
            faces: list[Face] = self._on_loop(server.faces())
            return faces
        return [self._face_of_function(source, program)] if program.function else []

    def _face_of_function(self, source: int, program: Program) -> Face:
        told = self._pool(program).ask({"describe": program.function}, program.seconds)
        wrong = told.get("failure") or told.get("error")
        if wrong:
            raise JobError(f"recipe.tools: wanted a function '{program.function}', got {wrong}; is its module on PYTHONPATH?")
        if "parameters" not in told and not program.parameters and not program.is_check:
            raise JobError(
                f"recipe.tools: the parameters of '{program.function}': {told['unknown']}; add the hint, or give `parameters`"
            )
        name = program.name or program.function.rpartition(":")[2]
        description = program.description or told.get("description", "")
        parameters = json.loads(program.parameters) if program.parameters else told.get("parameters", {})
        return Face(name, description, parameters, source, program.may_repeat)

    async def call(self, name: str, arguments: dict[str, Any], state: Any = None, begin: Callable[[], None] = no_begin) -> Called:
        """What a call gives. Never raises for what a tool does, only what `begin` raises, which is called once a process is free
        and before the tool is.
        """
        source = self.faces[name].source
        program = self._programs[source]
        if program.command:
            await asyncio.to_thread(begin)
            called: Called = await asyncio.wrap_future(self._submit(self._servers[source].call(name, arguments)))
            return replace(called, state=state)
        request = {
            "call": program.function,
            "arguments": arguments,
            "state": state,
            "seconds": program.seconds,
            "limit": program.result_bytes,
        }
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(self._threads, self._pool(program).ask, request, program.seconds, begin)
        if "failure" in answer:
            return Called(state=state, failure=answer["failure"])
        if "error" in answer:
            return Called(answer["error"], is_error=True, state=state)
        return Called(answer["text"], state=answer["state"])

    def _pool(self, program: Program) -> FunctionPool:
        sight = _sight_of(program)
        if sight not in self._pools:
            self._pools[sight] = FunctionPool(sight, self._size)
        return self._pools[sight]

    def _submit(self, work: Coroutine[Any, Any, T]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        result: T = self._submit(work).result(_OPEN_S)
        return result

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()
        for server in self._servers.values():
            with suppress(TimeoutError):
                self._submit(server.close()).result(_CLOSE_S)
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=_CLOSE_S)
        self._threads.shutdown(wait=False, cancel_futures=True)


async def _made(program: Program, source: int) -> McpServer:
    return McpServer(program, source)


def _sight_of(program: Program) -> Program:
    """Equal for programs that may see and do the same things."""
    return Program(
        environment=program.environment,
        reads=program.reads,
        writes=program.writes,
        network=program.network,
        isolate=program.isolate,
    )
