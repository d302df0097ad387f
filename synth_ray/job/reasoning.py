"""How a model thinks before it answers."""

from __future__ import annotations

from typing import Literal

from synth_ray.job.section import Section, key

THINK = ("<think>", "</think>")
"""The marks around a thought that most models write."""


class Reasoning(Section):
    """How a model thinks before it answers, and how its thought is told from its answer.

    Changes what is asked. `reasoning: true` is short for `{think: true}`.
    """

    think: bool | None = key(
        None,
        "Whether it should think: sets the switch of its chat template, or of its server. Left out, the model's own default.",
    )
    parser: str = key(
        "", "vLLM's reasoning parser, such as qwen3, deepseek_r1 or openai_gptoss; left out, told from the model where known."
    )
    marks: tuple[str, str] = key(THINK, "What a thought in plain text begins and ends with.")
    effort: Literal["", "none", "minimal", "low", "medium", "high", "xhigh", "max"] = key(
        "", "How hard it should think, for models and servers that can be told; empty says nothing."
    )
    budget: int | None = key(
        None,
        "Most tokens of one thought. They are added to `sampling.max_tokens`, which then limits the answer alone. Left out, "
        "thought and answer share `sampling.max_tokens`.",
        ge=0,
    )
