"""What a tool is to the rest of the program: how it is run, how it describes itself, and what a call of it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from synth_ray.records import reduce_by_fields


@dataclass(frozen=True, slots=True)
class Program:
    """What runs a tool: `function` (`package.module:function`), or the `command` of an MCP server, which brings tools of its own.
    With neither, nothing runs, and the name alone is taken.

    `allowed` are the server's tools that may be called, all where it is empty. `environment` names variables that are passed on;
    `reads` and `writes` are folders. `isolate`: off, only time and memory are limited. `idempotent`: whether a call may be
    repeated; None where only its other keys tell. `seconds` bounds a call and `result_bytes` its result. `description` and
    `parameters` (JSON) replace what a function says of itself. `is_check`: for the end of a conversation, not for the model.
    """

    name: str = ""
    function: str = ""
    command: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    network: bool = False
    isolate: bool = True
    idempotent: bool | None = None
    seconds: float = 10.0
    result_bytes: int = 8192
    description: str = ""
    parameters: str = ""
    is_check: bool = False

    __reduce__ = reduce_by_fields

    @property
    def may_repeat(self) -> bool:
        """Whether a call may be made again: a function that can neither write nor send anything has no effect but its result."""
        if self.idempotent is not None:
            return self.idempotent
        return bool(self.function) and self.isolate and not self.writes and not self.network


@dataclass(frozen=True, slots=True)
class Face:
    """A tool as the model sees it. `source` is the number of its program."""

    name: str
    description: str
    parameters: dict[str, Any]
    source: int
    may_repeat: bool


@dataclass(frozen=True, slots=True)
class Called:
    """What a call gave: the result's text, an error's text where `is_error`, and the state after it.

    `failure` is set where there is no result: the program hung or died. It has no text of the row.
    """

    text: str = ""
    is_error: bool = False
    state: Any = None
    failure: str = ""
