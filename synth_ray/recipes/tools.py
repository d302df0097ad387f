"""Tools that a dialogue may call: declared by a JSON Schema, a Python function or an MCP server; every call is validated."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import model_validator

from synth_ray.job.section import Section, key
from synth_ray.recipes.json_schema import JsonSchema, validator_of
from synth_ray.records import canonical_json
from synth_ray.toolbox.programs import Face, Program

_FUNCTION = r"^([A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*)?$"


class McpServer(Section):
    """An MCP server on stdio, which brings tools of its own."""

    command: list[str] = key(..., "The command that starts it, as [python, desk_server.py].", min_length=1)
    tools: list[str] = key(lambda: [], "Its tools that may be called; left out, all of them.")


class Tool(Section):
    """One tool: `parameters` alone, and its results are invented by the teacher; a `function`; or the tools of an `mcp` server.

    A function or a server sees no network, no environment variable and no folder but those named here and those in which Python
    finds modules, and writes none.
    """

    name: str = key(
        "", "The tool's name; of a function, its own where this is left out.", pattern=r"^([A-Za-z_][A-Za-z0-9_-]{0,63})?$"
    )
    description: str = key("", "What it does, for the model; of a function, its docstring where this is left out.")
    parameters: JsonSchema | None = key(
        None, "JSON Schema of its arguments; of a function, made of its type hints where left out."
    )
    returns: JsonSchema | None = key(None, "JSON Schema of what the teacher invents as its result; left out, any text.")
    function: str = key(
        "",
        "A Python function that runs, as `package.module:function`; one with an argument `state` gets the conversation's.",
        pattern=_FUNCTION,
    )
    mcp: McpServer | None = key(None, "An MCP server on stdio whose tools run.")
    env: list[str] = key(lambda: [], "Names of the environment variables that it gets.")
    reads: list[str] = key(lambda: [], "Files and folders that it may read besides Python's own and the working folder.")
    writes: list[str] = key(lambda: [], "Folders that it may write.")
    network: bool = key(False, "Whether it may use the network.")
    isolate: bool = key(True, "Off, it runs as a plain process, with limits on time and memory alone.")
    idempotent: bool | None = key(
        None,
        "Whether a call may be made again after an interruption. Left out, only of functions that can neither write nor send.",
    )
    seconds: float = key(10.0, "Longest time of one call.", gt=0, le=3600)
    result_bytes: int = key(8192, "Longest result, which is cut there and says so.", ge=64, le=10_000_000)

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> Tool:
        if self.function and self.mcp is not None:
            raise ValueError("wanted `function` or `mcp`, got both; make two entries of them")
        if not self.runs and (not self.name or self.parameters is None):
            raise ValueError("wanted `name` and `parameters`, a `function`, or an `mcp` server, got none of these; add one")
        if self.mcp is not None and (self.name or self.description or self.parameters is not None):
            raise ValueError("wanted the name, description and parameters from the MCP server, got others here; leave them out")
        if self.runs and self.returns is not None:
            raise ValueError("wanted `returns` for an invented result, got it for a tool that runs; leave it out")
        return self

    @property
    def runs(self) -> bool:
        """Whether it really runs. If not, the teacher invents its results."""
        return bool(self.function) or self.mcp is not None

    @property
    def program(self) -> Program:
        return Program(
            name=self.name,
            function=self.function,
            command=tuple(self.mcp.command) if self.mcp is not None else (),
            allowed=tuple(self.mcp.tools) if self.mcp is not None else (),
            environment=tuple(self.env),
            reads=tuple(self.reads),
            writes=tuple(self.writes),
            network=self.network,
            isolate=self.isolate,
            idempotent=self.idempotent,
            seconds=self.seconds,
            result_bytes=self.result_bytes,
            description=self.description,
            parameters=canonical_json(self.parameters).decode() if self.parameters is not None else "",
        )


@dataclass(frozen=True, slots=True)
class Callee:
    """A tool as the conversation calls it, whoever declared it."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    returns: Mapping[str, Any] | None = None
    runs: bool = False

    @property
    def function(self) -> dict[str, Any]:
        """As an entry of the `tools` of a chat template."""
        function = {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}
        return {"type": "function", "function": function}


def callees(tools: Sequence[Tool], faces: Mapping[str, Face]) -> dict[str, Callee]:
    """By name, in the job's order; a server's tools in its own. `faces` are those that really run."""
    return {callee.name: callee for number, tool in enumerate(tools) for callee in _callees_of(number, tool, faces)}


def _callees_of(number: int, tool: Tool, faces: Mapping[str, Face]) -> Iterator[Callee]:
    if not tool.runs:
        yield Callee(tool.name, tool.description, tool.parameters or {}, tool.returns)
    for face in faces.values():
        if face.source == number:
            yield Callee(face.name, face.description, face.parameters, runs=True)


def arguments_of(text: str, tool: Tool | Callee) -> dict[str, Any] | None:
    """The arguments, or None if they are not a JSON object that fits the tool's schema."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if fits(value, tool) else None


def fits(arguments: Any, tool: Tool | Callee) -> bool:
    return isinstance(arguments, dict) and validator_of(tool.parameters or {}).is_valid(arguments)
