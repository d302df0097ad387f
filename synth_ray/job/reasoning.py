"""How a model thinks before it answers."""

from __future__ import annotations

import re
from typing import Literal

from synth_ray.job.section import Section, key

THINK = ("<think>", "</think>")
"""The marks around a thought that most models write."""

SWITCHES = ("enable_thinking", "thinking")
"""Variables of chat templates that turn thoughts on and off."""

HARMONY = "openai_gptoss"
"""The parser's name of gpt-oss, whose answers are channels of tokens and not text with marks."""

_PARSERS = {
    r"gpt-?oss": HARMONY,
    r"deepseek-?r1|deepseek-?v3|r1-distill": "deepseek_r1",
    r"deepseek-?v4": "deepseek_v4",
    r"qwq|qwen3(?!.*instruct-2507)(?!.*(coder|embedding|reranker))": "qwen3",
    r"glm-?4\.[56]": "glm45",
    r"glm-?4\.7|glm-?5": "glm47",
    r"magistral": "mistral",
    r"granite-?3\.[23]": "granite",
    r"minimax-?m2": "minimax_m2",
    r"kimi-?k2.*thinking": "kimi_k2",
    r"seed-?oss": "seed_oss",
    r"nemotron-?(3|nano-3)": "nemotron_v3",
    r"olmo-?3.*think": "olmo3",
    r"hunyuan-a13b": "hunyuan_a13b",
    r"ernie-?4\.5.*thinking": "ernie45",
    r"gemma-?4": "gemma4",
    r"mimo": "mimo",
    r"step-?3\.5": "step3p5",
    r"step-?3": "step3",
}
"""vLLM's reasoning parsers by what is in the names of the models they were written for; the first that is found holds."""

_SAME = {"deepseek_v3": "deepseek_r1", "minimax_m2_append_think": "minimax_m2"}
"""Parsers that leave the thought in the answer unless they are told more, and those that do the same and take it out."""


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
        "Most tokens of one thought. They are added to `sampling.max_tokens`, so that the answer always has its own. Left out, "
        "thought and answer share `sampling.max_tokens`.",
        ge=0,
    )


def parser_of_name(name: str) -> str:
    """The reasoning parser of a model of this name or folder; empty where none is known."""
    words = name.rstrip("/").casefold().replace("_", "-")
    return next((parser for pattern, parser in _PARSERS.items() if re.search(pattern, words)), "")


def plain_parser(name: str) -> str:
    """The parser that takes a thought out of the answer in the way that this one is meant to."""
    return _SAME.get(name, name)
