"""The turns of a conversation, in every spelling of the ecosystem, as roles and texts.

Law: nothing of a turn is dropped. Its text and calls become its content; every other value stays with it in `more`; a turn with
something that text cannot hold (a picture, a call that is no JSON) raises WrongType, and so does a result of no call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from synth_ray.recipes.markup import call_text, parse_json
from synth_ray.recipes.seed_thoughts import thought_inside

_NAMES_OF_ROLES = {
    "system": "system developer",
    "user": "user human prompter",
    "assistant": "assistant gpt chatgpt bing bard model bot chatbot ai claude function_call tool_call",
    "tool": "tool function observation ipython function_response tool_response tool_result",
}
_ROLES = {name: role for role, names in _NAMES_OF_ROLES.items() for name in names.split()}
_CALLERS = ("function_call", "tool_call")
_SPEAKERS, _CONTENTS = ("role", "from"), ("content", "value")
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")
_MEDIA = ("audio", "audios", "file", "files", "image", "images", "image_url", "input_audio", "video", "videos")
_TRAINED = ("weight", "train", "training", "loss")
_CALL_KEYS = {"id", "type", "index", "function", "name", "arguments"}
_TEXT_PARTS = ("text", "input_text", "output_text", "refusal")


class NoField(Exception):
    """A required field is missing. The argument is its name."""


class WrongType(Exception):
    """A field has the wrong type. The argument gives the wanted type and the actual one."""


@dataclass(slots=True)
class Turn:
    """One turn. `more` has all that is neither its role nor its text: a name, a weight other than 1, the turn's reasoning."""

    role: str
    content: str
    more: dict[str, Any] = field(default_factory=dict)
    calls: list[tuple[str | int | None, str]] = field(default_factory=list)  # (id, name) of each call that the turn makes
    answers: str | int | None = None  # the id of the call whose result it is
    is_call: bool = False  # whether it is one call alone, which belongs to the turn before it

    @property
    def message(self) -> dict[str, str]:
        return {"role": self.role, "content": self.content}

    @property
    def is_trained_on(self) -> bool:
        return not any(self.more.get(name, 1) == 0 for name in _TRAINED)


def read_turns(items: Any) -> list[Turn]:
    """The turns in order, each result behind its call. Raises WrongType."""
    if not isinstance(items, list):
        raise WrongType(f"a list of turns, got {type(items).__name__}")
    turns = _joined([_turn(item) for item in items])
    for place, turn in enumerate(turns):
        if turn.calls:
            _match_results(turns, place)
    for turn in turns:
        if turn.answers is not None:
            turn.more["tool_call_id"] = turn.answers
    return turns


def _joined(turns: list[Turn]) -> list[Turn]:
    """The turns of ms-swift, where each call and the thought before it are turns of their own, as turns of one speaker."""
    joined: list[Turn] = []
    for turn in turns:
        before = joined[-1] if joined else None
        if before is None or not turn.is_call or before.role != "assistant":
            joined.append(turn)
        elif before.is_call:
            joined[-1] = replace(turn, content=f"{before.content}\n{turn.content}", calls=[*before.calls, *turn.calls])
            joined[-1].more = before.more | turn.more
        elif (thought := _thought_alone(before)) and not before.calls:
            joined[-1] = replace(turn, more=before.more | turn.more | {"reasoning_content": thought})
        else:
            joined.append(turn)
    return joined


def _thought_alone(turn: Turn) -> str:
    """The thought that is all of a turn; empty where it has another text."""
    text, thought = thought_inside(turn.content)
    return "" if text else thought


def has_turns(value: Any) -> bool:
    """Whether a column's value is a turn, or a list that begins with one."""
    first = value[0] if isinstance(value, list) and value else value
    return isinstance(first, Mapping) and any(name in first for name in _SPEAKERS)


def _match_results(turns: list[Turn], place: int) -> None:
    """Bring the results of a turn's calls into the order of the calls, which is what tells them apart."""
    calls, end = turns[place].calls, place + 1
    while end < len(turns) and turns[end].role == "tool":
        end += 1
    results = turns[place + 1 : end]
    ids = [turn.answers for turn in results]
    if any(name is not None for name in ids):
        numbers = {call: number for number, (call, _) in enumerate(calls)}
        if sorted(numbers.get(name, -1) for name in ids) != list(range(len(ids))):
            raise WrongType(f"one result for each of {len(calls)} calls, by its id, got {len(ids)} of other ids")
        results.sort(key=lambda turn: numbers[turn.answers])
    for turn, (_, name) in zip(results, calls, strict=False):
        turn.answers = None
        if turn.more.get("name") == name:
            del turn.more["name"]
    turns[place + 1 : end] = results


def _turn(item: Any) -> Turn:
    if not isinstance(item, Mapping):
        raise WrongType(f"turns that are objects, got {type(item).__name__}")
    rest = {name: value for name, value in item.items() if value is not None and value != [] and value != {} and value != ""}
    spelled = next((rest.pop(name) for name in _SPEAKERS if name in rest), None)
    role = _ROLES.get(_name_of(spelled))
    if role is None:
        raise WrongType(f"a known role in every turn, got {type(spelled).__name__}" + _length_of(spelled))
    if not any(name in item for name in (*_CONTENTS, "tool_calls", "function_call", "refusal")):
        raise WrongType("turns with text, got one without")
    content = next((rest.pop(name) for name in _CONTENTS if name in rest), "")
    calls = _calls_of(rest, role)
    if _name_of(spelled) not in _CALLERS:
        return _assembled(role, content, calls, rest)
    if isinstance(content, str):
        content, thought = thought_inside(content)
        rest |= {"reasoning_content": thought} if thought else {}
    turn = _assembled(role, "", [*map(_call, _listed(content)), *calls], rest)
    turn.is_call = _name_of(spelled) == "tool_call"
    return turn


def _assembled(role: str, content: Any, calls: list[tuple[Any, str, str]], rest: dict[str, Any]) -> Turn:
    media = [name for name in _MEDIA if name in rest]
    if media:
        raise WrongType(f"turns of text alone, got one with '{media[0]}'")
    text, thought = _text_of(content)
    thought = thought or next((rest[name] for name in _THOUGHTS if isinstance(rest.get(name), str)), "")
    rest = {name: value for name, value in rest.items() if name not in _THOUGHTS or value != thought}
    if isinstance(rest.get("refusal"), str) and not text:
        text = rest.pop("refusal")
    answers = _identity(rest.pop("tool_call_id", None)) if role == "tool" else None
    more = {name: value for name, value in rest.items() if name not in _TRAINED or value != 1}
    more |= {"reasoning_content": thought} if thought else {}
    written = "\n".join([text] * bool(text.strip()) + [called for _, _, called in calls]) if calls else text
    return Turn(role, written, more, [(call, name) for call, name, _ in calls], answers)


def _name_of(spelled: Any) -> str:
    return spelled.strip().lower().replace("-", "_") if isinstance(spelled, str) else ""


def _length_of(value: Any) -> str:
    return f" of {len(value)} characters that names none" if isinstance(value, str) else ""


def _text_of(content: Any) -> tuple[str, str]:
    """(text, reasoning) of a turn's content: text, or a list of parts."""
    if isinstance(content, str):
        return content, ""
    if not isinstance(content, list):
        raise WrongType(f"text in every turn, got {type(content).__name__}")
    texts: list[str] = []
    thoughts: list[str] = []
    for part in content:
        kind = part.get("type", "text") if isinstance(part, Mapping) else "text"
        text = part if isinstance(part, str) else _text_of_part(part, kind)
        (thoughts if kind in _THOUGHTS else texts).append(text)
    return "\n".join(texts), "\n".join(thoughts)


def _text_of_part(part: Any, kind: Any) -> str:
    known = kind in _TEXT_PARTS or kind in _THOUGHTS
    name = "text" if not known or str(kind).endswith("text") else str(kind)
    filled = {n: v for n, v in part.items() if v is not None and n != "type"} if isinstance(part, Mapping) else {}
    text = filled.pop(name, filled.pop("text", None))
    if not known or not isinstance(text, str) or any(value not in ("", [], {}) for value in filled.values()):
        raise WrongType("turns of text alone, got one with a part that is no text")
    return text


def _calls_of(rest: dict[str, Any], role: str) -> list[tuple[Any, str, str]]:
    """Take the calls out of a turn: (id, name, call as text) of each."""
    calls = [call for name in ("tool_calls", "function_call") if name in rest for call in _listed(rest.pop(name))]
    if calls and role != "assistant":
        raise WrongType("calls in turns of the assistant, got one in another turn")
    return [_call(call) for call in calls]


def _listed(calls: Any) -> list[Any]:
    """Calls as a list, or as one call; as values, or as their JSON."""
    if isinstance(calls, str):
        try:
            calls = parse_json(calls)
        except ValueError:
            raise WrongType("calls as JSON, got text that is not") from None
    return calls if isinstance(calls, list) else [] if calls is None else [calls]


def _call(call: Any) -> tuple[Any, str, str]:
    if not isinstance(call, Mapping):
        raise WrongType(f"calls that are objects, got {type(call).__name__}")
    outer = {name: value for name, value in call.items() if value is not None}
    function = outer.pop("function", outer)
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise WrongType("calls of a function by its name, got another call")
    kind, unknown = outer.get("type", "function"), {*outer, *function} - _CALL_KEYS
    if kind != "function" or unknown:
        raise WrongType("calls with name and arguments, got one of another kind or with more")
    return _identity(outer.get("id")), function["name"], call_text(function["name"], _arguments(function.get("arguments")))


def _arguments(value: Any) -> Any:
    if value is None or value == "":
        return {}
    try:
        value = parse_json(value) if isinstance(value, str) else value
    except ValueError:
        raise WrongType("a call's arguments as JSON of an object, got text that is not") from None
    if not isinstance(value, Mapping):
        raise WrongType(f"a call's arguments as an object, got {type(value).__name__}")
    return value


def _identity(value: Any) -> str | int | None:
    if value is not None and not isinstance(value, (str, int)):
        raise WrongType(f"a call's id as text, got {type(value).__name__}")
    return value
