"""Which recipe makes the rows, and its options."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from synth_ray.job.section import Section, key


class RecipeChoice(Section):
    """Which recipe, and its options. `recipe: distill` is short for `recipe: {name: distill}`."""

    name: str = key(..., "A recipe's name, or `package.module` of your own.")
    reasoning: Literal["keep", "drop", "only"] | None = key(
        None,
        "What becomes of the thought before an answer: rows keep it, in `reasoning` and in the last message; drop it; or have it "
        "alone, as their completion. Left out, rows keep it where a teacher may think.",
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="The recipe's own keys; they may stand beside `name`.",
        json_schema_extra={"changes": "ask"},
    )

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, dict) and "options" not in value:
            own = {"name": value.get("name")}
            own |= {"reasoning": value["reasoning"]} if isinstance(value.get("reasoning"), str) else {}
            return own | {"options": {k: v for k, v in value.items() if k not in own}}
        return value

    @property
    def marks(self) -> tuple[str, str] | None:
        """Marks around a thought that the recipe's own option `reasoning` gives, as distill's."""
        given = self.options.get("reasoning")
        return (str(given[0]), str(given[1])) if isinstance(given, (list, tuple)) and len(given) == 2 else None
