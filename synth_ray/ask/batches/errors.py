"""What a provider says is wrong with a batch or a call: what it means, and how much of it may be shown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from synth_ray.ask.server_errors import error_for_status
from synth_ray.errors import AskFailed
from synth_ray.records import Reason

Meaning = Literal["wait", "again", "refused"]
"""What is to be done: wait for room at the provider, send again in a later batch, or stop, because every batch would fail."""

_NO_ROOM_CODES = (
    "token_limit_exceeded", "rate_limit", "request_limit", "too_many_requests", "batch_limit", "queue", "resource_exhausted",
    "throttling", "servicequotaexceeded",
)  # fmt: skip
_NO_ROOM_MESSAGES = ("enqueued token limit", "enqueued tokens", "in_progress batches", "rate limit", "too many batches")
_UNPAID_CODES = ("insufficient_quota", "billing", "credit", "account_deactivated", "payment")
_PASSING_CODES = ("server_error", "internal", "unavailable", "timeout", "timed_out", "overloaded", "expired", "cancel")

_SHOWN_CHARACTERS = 160
_QUOTE_CHARACTERS = 12
"""A message that repeats as many characters of a prompt at one of every so many places is not shown."""

_OURS = frozenset({"custom_id", "key", "method", "url", "model", "role", "type"})
"""Keys of a request whose values are no text of a prompt."""

_QUOTED = re.compile(r"(?<!\w)(['\"`])(.*?)\1(?!\w)")
_PLAIN_NAME = re.compile(r"[\w.:/\[\]-]{1,80}")


@dataclass(frozen=True, slots=True)
class ProviderError:
    """One error of a batch or a call. `line` is the line of the batch's file that it speaks of, from 1; 0 for none."""

    code: str
    message: str = ""
    line: int = 0

    @property
    def meaning(self) -> Meaning:
        code, message = self.code.casefold(), self.message.casefold()
        if any(mark in code for mark in _UNPAID_CODES):
            return "refused"
        if any(mark in code for mark in _NO_ROOM_CODES) or any(mark in message for mark in _NO_ROOM_MESSAGES):
            return "wait"
        return "again" if not code or any(mark in code for mark in _PASSING_CODES) else "refused"

    @property
    def is_unpaid(self) -> bool:
        """Whether the account, not the request, is what the provider refuses."""
        return any(mark in self.code.casefold() for mark in _UNPAID_CODES)

    def of_one_prompt(self) -> AskFailed | None:
        """The failure of the one prompt that is at fault, such as one that is too long; None where it is not a prompt's own."""
        if self.meaning == "wait" or self.is_unpaid:
            return None
        failure = error_for_status(400, json.dumps({"error": {"code": self.code, "message": self.message}}))
        return failure if isinstance(failure, AskFailed) and failure.reason != Reason.ENGINE_ERROR else None

    def shown(self, prompts: str = "") -> str:
        """The code and a short message. `prompts` are the texts that were sent: a message that repeats them is left out."""
        message = _QUOTED.sub(
            lambda quote: quote[0] if _PLAIN_NAME.fullmatch(quote[2]) else "'…'", " ".join(self.message.split())
        )
        message = message if len(message) <= _SHOWN_CHARACTERS else message[: _SHOWN_CHARACTERS - 1] + "…"
        places = range(0, len(message) - _QUOTE_CHARACTERS + 1, _QUOTE_CHARACTERS)
        if any(message[place : place + _QUOTE_CHARACTERS] in prompts for place in places):
            message = ""
        at_line = f" (line {self.line} of the batch)" if self.line else ""
        return f"{self.code or 'no code'}{at_line}{f': {message}' if message else ''}"


def errors_in(reply: Any) -> list[ProviderError]:
    """The errors of a batch's status (`errors`) or of a refused call (`error`), in any form that providers give them."""
    if not isinstance(reply, dict):
        return []
    found = reply.get("errors") or reply.get("error") or reply.get("detail") or ()
    if isinstance(found, dict) and isinstance(found.get("data"), list):
        found = found["data"]
    return [_error(item) for item in (found if isinstance(found, list) else [found]) if item]


def _error(item: Any) -> ProviderError:
    if not isinstance(item, dict):
        return ProviderError("", str(item))
    words = [item.get(name) for name in ("code", "status", "type")]  # Google's code is a number, and its status a word
    code, line = next((word for word in words if isinstance(word, str) and word), ""), item.get("line")
    clean = code if re.fullmatch(r"[\w.-]{1,64}", code) else ""
    return ProviderError(clean, str(item.get("message") or ""), line if isinstance(line, int) and line > 0 else 0)


def meaning_of(errors: Iterable[ProviderError]) -> Meaning:
    """What several errors mean together: the worst of them."""
    meanings = {error.meaning for error in errors}
    return next((meaning for meaning in ("refused", "wait") if meaning in meanings), "again")


def prompt_texts(lines: Iterable[bytes]) -> str:
    """The texts of the prompts in a batch's lines."""
    return "\n".join(text for line in lines for text in _texts_in(json.loads(line)))


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for inner in value:
            yield from _texts_in(inner)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name not in _OURS:
                yield from _texts_in(inner)
