"""The answers of gpt-oss: messages in channels, made of tokens that no text shows. `openai_harmony` reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from synth_ray.ask.vllm.thought_tokens import TakenApart
from synth_ray.errors import MissingResource
from synth_ray.recipes.markup import call_text

_THOUGHT, _FUNCTIONS = "analysis", "functions."


@cache
def encoding() -> Any:
    """The tokens of the format. Raises MissingResource without the package or its vocabulary."""
    try:
        from openai_harmony import HarmonyEncodingName, load_harmony_encoding  # type: ignore[import-untyped]

        return load_harmony_encoding(HarmonyEncodingName.HARMONY_GPT_OSS)
    except Exception as error:
        raise MissingResource(
            "models.teacher.reasoning.parser: wanted openai_harmony and its vocabulary for openai_gptoss, got "
            f"{type(error).__name__}; install vLLM with it, or set TIKTOKEN_ENCODINGS_BASE to a folder that holds o200k_base"
        ) from None


def take_apart(tokens: Sequence[int]) -> TakenApart | None:
    """The answer in an assistant's tokens: its final channel and its calls of functions; None where they are no such messages."""
    from openai_harmony import HarmonyError, Role, StreamableParser

    parser = StreamableParser(encoding(), Role.ASSISTANT)
    answer_from = None
    try:
        for place, token in enumerate(tokens, 1):
            parser.process(token)
            if parser.current_channel == _THOUGHT:
                answer_from = None
            elif parser.current_channel is not None and answer_from is None:
                answer_from = place
    except HarmonyError:
        return None
    parts = list(_parts(parser))
    if not parts:
        return None
    answer = "\n".join(_shown(recipient, text) for channel, recipient, text in parts if channel != _THOUGHT).strip()
    thought = "\n\n".join(text.strip() for channel, _, text in parts if channel == _THOUGHT)
    return TakenApart(answer, thought, answer_from if answer and answer_from is not None else len(tokens))


def _parts(parser: Any) -> Iterator[tuple[str | None, str | None, str]]:
    """The messages' channels, recipients and texts, the unfinished one included."""
    for message in parser.messages:
        yield message.channel, message.recipient, "".join(getattr(content, "text", "") for content in message.content)
    if parser.current_channel is not None:
        yield parser.current_channel, parser.current_recipient, parser.current_content


def _shown(recipient: str | None, text: str) -> str:
    if not (recipient or "").startswith(_FUNCTIONS):
        return text
    try:
        arguments = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        arguments = text
    return call_text(str(recipient).removeprefix(_FUNCTIONS), arguments)
