"""How one role of an engine thinks: its prompts, what the engine is told of each, and its answers taken apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from synth_ray.ask.vllm import harmony
from synth_ray.ask.vllm.chat_template import rendered_tokens, renderer_of
from synth_ray.ask.vllm.template_thinking import TemplateThinking, closes_thought, opens_thought
from synth_ray.ask.vllm.thought_tokens import TakenApart, ThoughtSplitter
from synth_ray.job.models import Model
from synth_ray.job.reasoning import HARMONY, THINK
from synth_ray.recipes.contract import Completion
from synth_ray.recipes.finish_reasons import STOP
from synth_ray.recipes.markup import openai_turns
from synth_ray.records import Message

NO_TEMPLATE = TemplateThinking({})


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """A prompt's tokens. `opened`: it ends inside a thought. `thinks`: a thought is to be expected."""

    tokens: list[int]
    opened: bool = False
    thinks: bool = False

    def without_thought(self) -> RenderedPrompt:
        """The prompt of an answer that is bound to a form from its first token on, whatever the template opens."""
        return RenderedPrompt(self.tokens)


class RoleThinking:
    """Law: what is told to be the answer holds no thought, and a plain answer is left as it is. Not thread-safe."""

    def __init__(self, model: Model, tokenizer: Any, template: TemplateThinking = NO_TEMPLATE, parser: Any = None) -> None:
        """`parser` is the tokenizer's reasoning parser of vLLM, named by `template.parser`; None where there is none."""
        self._model, self._tokenizer, self.template = model, tokenizer, template
        self._is_harmony = template.parser == HARMONY
        self._knows = parser is not None or model.reasoning is not None
        self._marks = _marks(model, parser)
        ids = tuple(_token_of(mark, tokenizer) for mark in self._marks or ())
        self._marks_are_special = self._knows and any(map(self._is_special, self._marks or ()))
        self._splitter = ThoughtSplitter(
            self._marks, lambda tokens: str(tokenizer.decode(list(tokens))), parser, (ids[0], ids[1]) if ids else (None, None)
        )

    def _is_special(self, mark: str) -> bool:
        """Whether a text loses the mark where special tokens are left out of it."""
        return mark not in self._tokenizer.decode(rendered_tokens(self._tokenizer, mark), skip_special_tokens=True)

    def render(self, messages: list[Message], tools: Sequence[Mapping[str, Any]] = ()) -> RenderedPrompt:
        """Raises whatever the template raises. With `tools`, calls and results are the template's to write."""
        if not self._model.chat:
            text = "\n".join(message["content"] for message in messages)
            opened = self._marks is not None and opens_thought(text, self._marks[0])
            return RenderedPrompt(list(self._tokenizer.encode(text)), opened, opened)
        if tools:
            messages = openai_turns(messages, arguments_as_text=False)
        variables = {**self.template.variables, **({"tools": list(tools)} if tools else {})}
        text = renderer_of(self._tokenizer)(self.template.messages(messages), variables)
        tokens = rendered_tokens(self._tokenizer, text)
        if self._marks is None or self._is_harmony:
            return RenderedPrompt(tokens, False, self.template.expects)
        opened = opens_thought(text, self._marks[0])
        return RenderedPrompt(tokens, opened, opened or (self.template.expects and not closes_thought(text, self._marks[1])))

    def sampling(self, prompt: RenderedPrompt, max_tokens: int) -> dict[str, Any]:
        """Keys of SamplingParams that thoughts need, `max_tokens` among them."""
        keys: dict[str, Any] = {"max_tokens": max_tokens}
        budget = self._model.reasoning.budget if self._model.reasoning is not None else None
        if budget is not None and prompt.thinks:
            marks = sum(len(rendered_tokens(self._tokenizer, mark)) for mark in self._marks or ())
            keys |= {"thinking_token_budget": budget, "max_tokens": max_tokens + budget + marks}
        if self._marks_are_special:
            keys["skip_special_tokens"] = False  # else the marks are not in the text
        return keys

    def take_apart(
        self, answer: Completion, tokens: Sequence[int], *, prompt: RenderedPrompt, sampling: Mapping[str, Any]
    ) -> Completion:
        """The answer without its thought. Where nothing is known of the model's thoughts and none began, it is left as it is."""
        if self._is_harmony:
            apart = harmony.take_apart(tokens) or TakenApart(answer.text, "", 0)
            if answer.finish_reason == STOP:
                apart = replace(apart, text=_cut_at_stop(apart.text, sampling.get("stop") or ()))
        elif self._knows or prompt.opened:
            apart = self._splitter.split(answer.text, tokens, opened=prompt.opened)
        else:
            return answer
        return replace(answer, text=apart.text, reasoning=apart.thought, reasoning_tokens=apart.thought_tokens)


def _marks(model: Model, parser: Any) -> tuple[str, str] | None:
    """The parser's marks, else the job's. None where the parser knows a thought by other signs."""
    if parser is None:
        return model.reasoning.marks if model.reasoning is not None else THINK
    opening, closing = parser.reasoning_start_str, parser.reasoning_end_str
    return (opening, closing) if opening and closing else None


def _token_of(mark: str, tokenizer: Any) -> int | None:
    tokens = rendered_tokens(tokenizer, mark)
    return tokens[0] if len(tokens) == 1 else None


def _cut_at_stop(text: str, stops: Sequence[str]) -> str:
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(places)] if places else text
