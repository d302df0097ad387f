"""Tools that a dialogue may call: declared as JSON Schemas, and every call validated against its own."""

from __future__ import annotations

import json
from typing import Any

from synth_ray.job.section import Section, key
from synth_ray.recipes.json_schema import JsonSchema, validator_of


class Tool(Section):
    """One tool, with the fields that chat templates use."""

    name: str = key(..., "The tool's name.", pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$")
    description: str = key("", "What it does, for the model.")
    parameters: JsonSchema = key(..., "JSON Schema of its arguments.")
    returns: JsonSchema | None = key(None, "JSON Schema of what it returns; left out, any text.")

    @property
    def function(self) -> dict[str, Any]:
        """As an entry of the `tools` of a chat template."""
        function = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": function}


def arguments_of(text: str, tool: Tool) -> dict[str, Any] | None:
    """The arguments, or None if they are not a JSON object that fits the tool's schema."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and validator_of(tool.parameters).is_valid(value) else None
