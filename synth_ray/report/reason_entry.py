"""What is told of one reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Stage = Literal["seed", "ask", "recipe", "check", "scrub", "admit"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One reason. `stages` are the stages that raise it, in pipeline order; `advice` names job keys in backticks.

    A key that begins with `recipe.` is an option of one of the built-in recipes.
    """

    stages: tuple[Stage, ...]
    meaning: str
    advice: str
