"""Tool calls in OpenAI's form: they have ids, their arguments are JSON text, and each result names the call it answers."""

from __future__ import annotations

from synth_ray.dataset.conversation import Message, NotRepresentable
from synth_ray.recipes.markup import openai_turn, openai_turns


def openai_messages(messages: list[Message]) -> list[Message]:
    """The messages with their calls apart from the text. Raises NotRepresentable where calls and results do not pair up."""
    try:
        return openai_turns(messages)
    except ValueError as error:
        raise NotRepresentable(str(error)) from None


def openai_message(message: Message, name: str) -> Message:
    """An assistant's message with its calls apart; `name` begins their ids. Raises NotRepresentable for text behind a call."""
    try:
        return openai_turn(message, name)
    except ValueError as error:
        raise NotRepresentable(str(error)) from None
