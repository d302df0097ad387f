"""A given answer as the tokens that the model itself would have answered with."""

from __future__ import annotations

from itertools import takewhile
from typing import Any

from jinja2 import TemplateError

from synth_ray.ask.teacher import Prompt
from synth_ray.ask.vllm.chat_template import chat_tokens
from synth_ray.ask.vllm.template_thinking import TemplateThinking
from synth_ray.errors import AskFailed
from synth_ray.job.models import Model
from synth_ray.records import Reason


def given_answer(tokenizer: Any, prompt: Prompt, model: Model, template: TemplateThinking) -> tuple[list[int], int]:
    """The tokens of the messages with the answer, up to the end of its turn, and where the answer begins. `template` is told
    whether to think as it is where the model answers.

    Messages and answer are rendered together, so that tokens are those of the whole text. Raises AskFailed where these do not
    begin with the tokens of the prompt: then no token belongs to the answer alone.
    """
    try:
        before, whole = _renderings(tokenizer, prompt, model, template)
    except (TemplateError, ValueError, TypeError, KeyError) as error:
        raise AskFailed(Reason.ENGINE_ERROR, f"the chat template refuses the answer ({type(error).__name__})") from None
    start = common_prefix(before, whole)
    refuse_torn_prompt(start, len(before), len(whole))
    ends = [place for place in range(start, len(whole)) if whole[place] == tokenizer.eos_token_id]
    return whole[: ends[-1] + 1] if ends else whole, start


def _renderings(tokenizer: Any, prompt: Prompt, model: Model, template: TemplateThinking) -> tuple[list[int], list[int]]:
    answer = {"role": "assistant", "content": prompt.given}
    if model.chat:
        messages = template.messages(prompt.messages)
        closed = {**template.variables, "add_generation_prompt": False}
        before = chat_tokens(tokenizer, messages, template.variables)
        return before, chat_tokens(tokenizer, [*messages, answer], closed)
    text = "\n".join(message["content"] for message in prompt.messages)
    return list(tokenizer.encode(text)), list(tokenizer.encode(text + prompt.given))


def common_prefix(one: list[int], other: list[int]) -> int:
    """How many tokens two lists begin with together."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def refuse_torn_prompt(start: int, before: int, whole: int) -> None:
    """Raise AskFailed unless all tokens of the prompt come before the answer, and the answer has any."""
    if start != before or start == whole:
        raise AskFailed(
            Reason.ENGINE_ERROR,
            f"wanted the {before} tokens of the prompt before the answer's, got {start} of them with the answer behind; the chat "
            "template, or a token across the border, makes the answer another text",
        )


def score_sampling(prompt: Prompt) -> dict[str, Any]:
    """Keys of vLLM's SamplingParams. With prompt_logprobs it reads no prefix cache, by its own default: forced to, it would
    return what happens to be in memory.
    """
    k = int(prompt.sampling.get("top_k_logprobs") or 0)
    return {"n": 1, "max_tokens": 1, "temperature": 0.0, "prompt_logprobs": k, "flat_logprobs": True}
