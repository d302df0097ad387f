"""How a chat template opens and closes a user's turn: what a model is given so that it writes the turn itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from synth_ray.ask.vllm.template_thinking import Render
from synth_ray.errors import JobError
from synth_ray.job.models import Model
from synth_ray.records import Message

_MARKS = ("Zq7Xw", "Kj9Vb")
"""Texts of two user turns: what differs between their renderings is not the template's."""


@dataclass(frozen=True, slots=True)
class UserTurn:
    """The text up to a user's message, and the text behind it."""

    opening: str
    closing: str


def user_turn(render: Render, model: Model, before: list[Message]) -> UserTurn:
    """The user's turn after these messages.

    Raises ValueError where the template does not have the message once, as it is, between texts that are the same for all
    messages, and whatever the template raises.
    """
    variables = {**model.chat_template_kwargs, "add_generation_prompt": False}
    found = []
    for mark in _MARKS:
        opening, is_there, closing = render([*before, {"role": "user", "content": mark}], variables).partition(mark)
        if not is_there or mark in closing:
            raise ValueError("the template has the user's message not once")
        found.append(UserTurn(opening, closing))
    if found[0] != found[1] or not found[0].opening.strip():
        raise ValueError("the template opens a user's turn with nothing, or not always with the same text")
    return found[0]


def refuse_without_user_turn(render: Render, model: Model, *, where: str) -> None:
    """Raises JobError for a template under which the model cannot write a user's turn. `where` is the model's section."""
    try:
        user_turn(render, model, [])
    except Exception as error:  # a template raises what it likes
        raise JobError(
            f"{where}: wanted a chat template that opens a user's turn with a text of its own, for recipe 'spring', got one that "
            f"does not in '{model.name}' ({type(error).__name__}); use another model, or recipe vary with seeds"
        ) from None


def stop_of(tokenizer: Any, closing: str) -> dict[str, Any]:
    """The sampling that ends the message where the template closes it: at its token, where that is one of its own, else at its
    text.
    """
    text = closing.strip()
    if not text:
        return {}
    first = tokenizer.encode(text, add_special_tokens=False)[0]
    if first in tokenizer.get_added_vocab().values():
        return {"stop_token_ids": [first]}
    return {"stop": [text]}
