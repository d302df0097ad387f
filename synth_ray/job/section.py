"""The base of every section of a job: frozen and strict; each key has a sentence and the cost of changing it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

Changes = Literal["ask", "stage", "admit", "nothing"]
"""What a change of a key costs: a new run; staging again from staged text; admission again; nothing."""


OneOrMore = BeforeValidator(lambda value: value if isinstance(value, list) else [value])
"""For a key that takes one value or a list of them: `Annotated[list[X], OneOrMore]`."""


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


def key(default: Any = ..., doc: str = "", *, changes: Changes = "ask", **constraints: Any) -> Any:
    """Declare one key: its default, a sentence that explains it, and what a change of it costs."""
    schema: dict[str, JsonValue] = {"changes": changes}
    if callable(default):
        return Field(default_factory=default, description=doc, json_schema_extra=schema, **constraints)
    return Field(default, description=doc, json_schema_extra=schema, **constraints)
