"""An MCP server on stdio: started once, started again when it is dead, ended with the toolbox.

Law: a tool's error is a result; a server that hangs or ends gives a failure, and the next call meets a new one. Calls run side by
side on one connection, so a server that is ended for one call fails the others that it was at.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from typing import Any

from synth_ray.errors import JobError, MissingResource
from synth_ray.toolbox.child import cut
from synth_ray.toolbox.launch import environment_of, isolated_command
from synth_ray.toolbox.programs import Called, Face, Program

_START_S, _END_S = 60.0, 10.0
_CONNECTION_CLOSED = -32000


class McpServer:
    """All methods run on one event loop, the toolbox's."""

    def __init__(self, program: Program, source: int) -> None:
        self._program, self._source = program, source
        self._session: Any = None
        self._stop = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()

    async def faces(self) -> list[Face]:
        """The tools that the job allows, in the server's order. Raises JobError where it has others."""
        session = await self._connected()
        tools, cursor = [], None
        while True:
            page = await session.list_tools(cursor=cursor) if cursor else await session.list_tools()
            tools += page.tools
            cursor = page.next_cursor
            if not cursor:
                break
        wanted = self._program.allowed or tuple(tool.name for tool in tools)
        if missing := set(wanted) - {tool.name for tool in tools}:
            have = ", ".join(tool.name for tool in tools) or "none"
            raise JobError(f"recipe.tools: wanted {', '.join(sorted(missing))} of an MCP server, got one that has {have}")
        repeat = self._program.may_repeat
        return [
            Face(tool.name, tool.description or "", tool.input_schema, self._source, repeat)
            for tool in tools
            if tool.name in wanted
        ]

    async def call(self, name: str, arguments: dict[str, Any]) -> Called:
        from anyio import BrokenResourceError, ClosedResourceError
        from mcp import MCPError

        seconds = self._program.seconds
        try:
            session = await self._connected()
        except MissingResource:
            return Called(failure="its server does not start again")
        try:
            result = await asyncio.wait_for(session.call_tool(name, arguments), seconds)
        except TimeoutError:
            failure = f"not done after {seconds:g} s"
        except MCPError as error:
            if error.code != _CONNECTION_CLOSED:
                return Called(cut(f"{type(error).__name__}: {error.message}", self._program.result_bytes), is_error=True)
            failure = "its server ended"
        except (BrokenResourceError, ClosedResourceError):
            failure = "its server ended"
        except Exception as error:  # the client raises what it likes of a result that it cannot read
            return Called(failure=f"its result cannot be read ({type(error).__name__})")
        else:
            return Called(cut(_text_of(result), self._program.result_bytes), is_error=bool(result.is_error))
        await self._end(session)
        return Called(failure=failure)

    async def _connected(self) -> Any:
        """The session, of a new process where there is none. Raises MissingResource where it does not start."""
        async with self._starting:
            if self._session is None or self._running is None or self._running.done():
                self._session, self._stop = None, asyncio.Event()
                ready: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
                self._running = running = asyncio.get_running_loop().create_task(self._run(ready, self._stop))
                try:
                    self._session = await asyncio.wait_for(ready, _START_S)
                except BaseException as error:
                    await _cancel(running)
                    if not isinstance(error, Exception):
                        raise
                    raise MissingResource(
                        f"recipe.tools: wanted an MCP server from `{' '.join(self._program.command)}`, got "
                        f"{type(error).__name__}; run it by hand, and give it the folders, the network and the variables it needs"
                    ) from None
            return self._session

    async def _run(self, ready: asyncio.Future[Any], stop: asyncio.Event) -> None:
        """One process and its session, from start to end: the client wants both in one task."""
        from mcp import ClientSession, StdioServerParameters, stdio_client

        nowhere = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
        with tempfile.TemporaryDirectory(prefix="synth-ray-tool-") as root, nowhere:
            try:
                command, *arguments = isolated_command(self._program, self._program.command, root)
                server = StdioServerParameters(command=command, args=arguments, env=environment_of(self._program))
                async with (
                    stdio_client(server, errlog=nowhere) as (reading, writing),
                    ClientSession(reading, writing) as session,
                ):
                    await session.initialize()
                    if not ready.done():
                        ready.set_result(session)
                    await stop.wait()
            except BaseException as error:
                if not ready.done():
                    ready.set_exception(RuntimeError(type(error).__name__))
                if isinstance(error, asyncio.CancelledError):
                    raise

    async def _end(self, session: Any) -> None:
        """End the session's process. Another may have ended it, and a new one may serve others' calls: that one goes on."""
        if session is self._session:
            await self.close()

    async def close(self) -> None:
        running, session, self._session, self._running = self._running, self._session, None, None
        self._stop.set()
        if running is None:
            return
        if session is not None:
            await asyncio.wait({running}, timeout=_END_S)
        await _cancel(running)


async def _cancel(running: asyncio.Task[None]) -> None:
    """Cancel what has not ended, and wait until its process is gone."""
    running.cancel()
    await asyncio.wait({running}, timeout=_END_S)


def require_mcp() -> None:
    """Raise MissingResource without the package `mcp`."""
    try:
        import mcp  # noqa: F401
    except ImportError:
        raise MissingResource(
            "recipe.tools: wanted the package mcp for a tool of an MCP server, got none; install synth-ray[tools]"
        ) from None


def _text_of(result: Any) -> str:
    """The result's texts; what is not text is named by its type, and structured content alone is its JSON."""
    parts = [part.text if part.type == "text" else f"[{part.type}]" for part in result.content]
    if not parts and result.structured_content is not None:
        return json.dumps(result.structured_content, ensure_ascii=False)
    return "\n".join(parts)
