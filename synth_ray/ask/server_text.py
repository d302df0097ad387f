"""What is written in a server's error: codes, messages, the parameter it names, how long to wait, how much room there is."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

_MOST_CHARACTERS = 4000
_REFUSES_PARAMETER = re.compile(
    r"unsupported|not (?:be )?support|unknown|unrecogni[sz]ed|not permitted|not allowed|(?:does not|doesn't) (?:support|accept)|"
    r"unexpected|extra (?:inputs|fields)|invalid|only the default|must be|deprecated|not available|not compatible|instead|cannot"
)
_SHORT_NAMES = frozenset({"n", "seed", "stop", "model", "prompt", "thinking", "reasoning"})
"""Names of parameters that are also plain words: in prose they count in quotes, or where they are called a parameter."""


def json_in(text: str | bytes) -> Any:
    """The value of a body; None where it is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _objects_in(body: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """The body's objects that describe the error, the outermost first."""
    if isinstance(body, list):
        for item in body[:8]:
            yield from _objects_in(item, depth + 1)
    elif isinstance(body, dict) and depth < 6:
        yield body
        for name in ("error", "errors", "innererror", "inner_error", "metadata", "detail", "details", "response"):
            yield from _objects_in(body.get(name), depth + 1)


@dataclass(frozen=True, slots=True)
class ErrorText:
    """What the body of an error says: its `codes`, without case, dashes and spaces, and its messages, without case."""

    codes: str
    says: str
    body: Any = field(default=None, repr=False)

    @classmethod
    def of(cls, text: str) -> ErrorText:
        body = json_in(text)
        names = ("code", "type", "status", "reason")
        codes = [str(item[name]) for item in _objects_in(body) for name in names if isinstance(item.get(name), (str, int))]
        says = text if body is None else " ".join(_messages_in(body))
        return cls(re.sub(r"[^a-z0-9 ]", "", " ".join(codes).casefold()), says[:_MOST_CHARACTERS].casefold(), body)

    def parameter(self, sent: Collection[str]) -> str:
        """Which key of the request the error is about; empty if it names none."""
        names = [name for name in sent if name not in ("model", "messages", "prompt")]
        for item in _objects_in(self.body):
            places = [item.get("param"), *(item["loc"] if isinstance(item.get("loc"), list) else ())]
            if named := [place for place in places if place in names]:
                return str(named[0])
        if not (_REFUSES_PARAMETER.search(self.says) or "unsupported" in self.codes):
            return ""
        found = {name: place for name in names if (place := _place_of(name, self.says)) >= 0}
        return min(found, key=lambda name: found[name], default="")


def _messages_in(body: Any) -> Iterator[str]:
    if isinstance(body, str):
        yield body
    for item in _objects_in(body):
        for name in ("message", "msg", "error", "detail", "error_message", "raw"):
            if isinstance(item.get(name), str):
                yield item[name]


def _place_of(name: str, says: str) -> int:
    word = re.escape(name)
    pattern = rf"(?<![\w.]){word}(?!\w)"
    if name in _SHORT_NAMES:
        called = r"(?:parameter|argument|field|property|input|option|key)\w*(?: supplied)?\W{1,4}"
        pattern = rf"['\"`]{word}['\"`]|{called}{word}(?!\w)|(?<!\w){word}(?= (?:is|must|>|=|!=))"
    match = re.search(pattern, says)
    return match.start() if match else -1


# How long to wait.

_TOLD_WAIT = re.compile(r"(?:retry|try again)[a-z ]{0,20}?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?) ?(ms|s))")


def wait_in(headers: Mapping[str, str], says: str) -> float:
    """Seconds that the server asks to wait: `Retry-After` in seconds or as a date, in milliseconds, or in its words."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if re.fullmatch(r"\d+(\.\d+)?", value):
            return float(value) * unit
        if value and name == "retry-after":
            return _seconds_until(value)
    if told := _TOLD_WAIT.search(says):
        hours, minutes, seconds, unit_name = told.groups()
        return 3600 * float(hours or 0) + 60 * float(minutes or 0) + float(seconds) * (1e-3 if unit_name == "ms" else 1.0)
    return 0.0


def _seconds_until(date: str) -> float:
    try:
        return max(0.0, parsedate_to_datetime(date).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


# Room.


def room_in(says: str, asked: int) -> int | None:
    """How many tokens an answer may have, by the numbers of an error about lengths, where `asked` were wanted. 0: the prompt
    itself is too long. None: the numbers do not tell.
    """
    numbers = [int(number.replace(",", "")) for number in _NUMBER.findall(says)]
    limit = _limit_in(says)
    if not asked:
        return 0
    if limit is None:
        return None
    others = [number for number in numbers if number not in (asked, limit)]
    prompts = [number for number in others if number + asked in numbers]
    if not prompts and (above := [number for number in others if number > limit]):
        prompts = [min(above) - asked] if re.search("request|total", says) else above
    if not prompts:
        prompts = [number for number in others if number < limit < number + asked]
    room = max(0, limit - max(prompts)) if prompts else limit
    return room if room < asked else None


_NUMBER = re.compile(r"(?<![\w.])(?:\d{1,3}(?:,\d{3})+|\d{1,9})(?!\w)")
_LIMIT = re.compile(
    r"(?:maximum (?:context|input|model|allowed|sequence)[^.\d]{0,60}?|context (?:length|window|size|limit)[^.\d]{0,40}?|"
    r"max_model_len[^.\d]{0,20}?|at most |less than |must be <= ?|limit of |up to |range [^\d]{0,40}?\[?\d+, ?)(\d[\d,]{0,11})"
)
_EXCEEDED = re.compile(r"\d+(?: tokens)? > (\d{1,9})(?!\d| -)")


def _limit_in(says: str) -> int | None:
    """The number that the text calls the limit, or that something is said to exceed."""
    match = _EXCEEDED.search(says) or _LIMIT.search(says)
    return int(match.group(1).replace(",", "").strip(",")) if match else None
