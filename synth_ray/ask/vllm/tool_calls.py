"""The calls in a model's answer, as the program writes them, whatever markup the model has for them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from synth_ray.ask.vllm import internals
from synth_ray.errors import JobError
from synth_ray.recipes.markup import CALL_BEGIN, call_text

Tools = Sequence[Mapping[str, Any]]


class CallReader:
    """Reads the calls of one model. Without a `parser`, a model writes `<tool_call>` itself, and its text is left as it is."""

    def __init__(self, tokenizer: Any, parser: str, *, where: str) -> None:
        """Raises JobError for a parser that vLLM does not have, or that does not fit. `where` is the model's section."""
        self._tokenizer, self._parser = tokenizer, parser
        if parser:
            self._try(where)
        marks = tokenizer.encode(CALL_BEGIN, add_special_tokens=False)
        self._is_special = bool(parser) or CALL_BEGIN not in tokenizer.decode(marks, skip_special_tokens=True)

    def _try(self, where: str) -> None:
        known = internals.tool_parsers()
        if self._parser not in known:
            raise JobError(
                f"{where}.tool_parser: wanted a tool parser of vLLM's, got '{self._parser}'; it has {', '.join(known)}"
            )
        try:
            internals.parse_calls(self._parser, self._tokenizer, (), "Hello")
        except Exception as error:  # a parser raises what it likes
            told = f"'{self._parser}' ({type(error).__name__})"
            raise JobError(f"{where}.tool_parser: wanted a parser that fits the model's tokenizer, got {told}") from None

    def sampling(self, tools: Tools) -> dict[str, Any]:
        """Keys of SamplingParams without which the marks of a call would not be in the text."""
        return {"skip_special_tokens": False} if tools and self._is_special else {}

    def read(self, text: str, tools: Tools) -> str:
        """The text, with calls in the program's own form. What the parser cannot read stays, and is no call that fits."""
        if not self._parser or not tools:
            return text
        try:
            content, calls = internals.parse_calls(self._parser, self._tokenizer, tools, text)
        except Exception:  # a parser raises what it likes, of markup that a model spoiled
            return text
        written = [call_text(name, _arguments(arguments)) for name, arguments in calls]
        return "\n".join(part for part in (content.strip(), *written) if part)


def _arguments(text: str) -> Any:
    try:
        return json.loads(text) if text.strip() else {}
    except ValueError:
        return text
