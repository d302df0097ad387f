"""Row layouts, and the canonical form they are converted to: `prompt`, perhaps `answer` and `messages`, and all other fields.

Law: a row is read whole, or it is refused. The canonical fields have what the layout says; every other column keeps its name, and
one that would take the name of a canonical field is `other_` and that name. The canonical fields of a conversation:

- `prompt`: the last user turn. `messages`: all turns up to it. `tool_turns`: those between it and the answer. `answer`: the
  assistant's turn at the end. `reasoning`: what the assistant thought for it.
- `turn_fields`: where any turn has more than role and text (a weight, a name), a list of that, one object for each turn.
- `rejected`: in a pair of answers, the text of the worse one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from synth_ray.plan.pairs import rejected_fields
from synth_ray.plan.turns import NoField, Turn, WrongType, has_turns, read_turns

__all__ = ["NoField", "WrongType", "canonical_fields", "shape_of"]

_PROMPTS = ("prompt", "question", "instruction", "query", "text", "input")
_ANSWERS = ("answer", "completion", "output", "response")
_CONVERSATIONS = ("messages", "conversations", "conversation")
_ENDINGS = ("preferred_output", "chosen", "completion")
_CANONICAL = ("prompt", "messages", "tool_turns", "turn_fields")


def shape_of(row: Mapping[str, Any]) -> str:
    """The layout of a row: messages, sharegpt, alpaca, parts (of a prompt and its completion) or plain."""
    column = _conversation_column(row)
    if column is not None:
        return "messages" if column == "messages" else "sharegpt"
    if _is_in_parts(row):
        return "parts"
    return "alpaca" if _is_alpaca(row) else "plain"


def canonical_fields(row: Any, *, shape: str, mapping: Mapping[str, str]) -> dict[str, Any]:
    """The canonical fields of a row. `mapping`, if any, overrides `shape`. Raises NoField or WrongType."""
    if not isinstance(row, Mapping):
        raise WrongType(f"an object, got {type(row).__name__}")
    fields = _mapped(row, mapping) if mapping else _SHAPES[shape_of(row) if shape == "auto" else shape](row)
    prompt = fields.get("prompt", "")
    if prompt is None:
        raise NoField("prompt")
    if not isinstance(prompt, str):
        raise WrongType(f"text in 'prompt', got {type(prompt).__name__}")
    return fields


def _mapped(row: Mapping[str, Any], mapping: Mapping[str, str]) -> dict[str, Any]:
    fields = {name: _value_at(row, path) for name, path in mapping.items()}
    if "tool_turns" in fields:
        fields["tool_turns"] = [turn.message for turn in read_turns(fields["tool_turns"])]
    if "messages" not in fields:
        return fields
    turns = read_turns(fields.pop("messages"))
    if "prompt" not in fields:
        return _dialogue(turns, fields, "messages")
    more = {"turn_fields": [turn.more for turn in turns]} if any(turn.more for turn in turns) else {}
    return fields | {"messages": [turn.message for turn in turns]} | more


def _value_at(row: Any, path: str) -> Any:
    if isinstance(row, Mapping) and path in row:
        value = row[path]
    else:
        value = row
        for part in path.split("."):
            value = _step(value, part, path)
    if value is None:
        raise NoField(path)
    return value


def _step(value: Any, part: str, path: str) -> Any:
    if isinstance(value, Mapping) and part in value:
        return value[part]
    if isinstance(value, list) and part.isdigit() and int(part) < len(value):
        return value[int(part)]
    raise NoField(path)


def _with_others(fields: dict[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """The canonical fields and a row's other columns. A column that says the same as a canonical field, or nothing, is left out
    where it has the field's name.
    """
    kept = dict(fields)
    for name, value in others.items():
        if name in fields and (value is None or value == fields[name]):
            continue
        key = name
        while key in kept or (key != name and key in others) or (key in _CANONICAL and value is not None):
            key = f"other_{key}"
        kept[key] = value
    return kept


def _first_filled(row: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """The first of the columns that has a value, else the first that is there."""
    there = [name for name in names if name in row]
    return next((name for name in there if row[name] is not None), there[0] if there else None)


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    name = _first_filled(row, _PROMPTS)
    if name is None:
        raise NoField("prompt")
    others = {k: v for k, v in row.items() if k != name}
    answer = _first_filled(others, _ANSWERS)
    if answer == "completion" and row.get("label") is False:
        return _with_others({"prompt": row[name], "rejected": others.pop(answer)}, others)  # TRL's unpaired preference
    ending = {} if answer is None else {"answer": others.pop(answer)}
    return _with_others({"prompt": row[name], **ending}, others)


def _is_alpaca(row: Mapping[str, Any]) -> bool:
    if "instruction" not in row or any(name in row for name in ("output", "response")):
        return "instruction" in row
    return not any(name in row for name in ("prompt", "question")) and any(name in row for name in ("input", "history"))


def _alpaca(row: Mapping[str, Any]) -> dict[str, Any]:
    if "instruction" not in row:
        raise NoField("instruction")
    instruction, more = row["instruction"], row.get("input") or ""
    if not isinstance(instruction, str) or not isinstance(row.get("input"), str | None):
        kinds = f"{type(instruction).__name__} and {type(row.get('input')).__name__}"
        raise WrongType(f"text in 'instruction' and 'input', got {kinds}")
    prompt = f"{instruction}\n\n{more}" if more.strip() else instruction
    others = {k: v for k, v in row.items() if k not in ("instruction", "input")}
    name = _first_filled(others, ("output", "response", "answer", "completion", "chosen"))
    answer = None if name is None else others.pop(name)
    turns = [*_system_turn(others), *_history(others)]
    if not turns:
        return _with_others({"prompt": prompt} if answer is None else {"prompt": prompt, "answer": answer}, others)
    ending = [] if answer is None else read_turns([{"role": "assistant", "content": answer}])
    return _dialogue([*turns, Turn("user", prompt), *ending], others, "history")


def _history(others: dict[str, Any]) -> list[Turn]:
    """Take earlier rounds out of the columns: pairs of what the user and the assistant said."""
    if not others.get("history"):
        return []
    rounds = others.pop("history")
    if not isinstance(rounds, list) or not all(isinstance(r, list) and [type(t) for t in r] == [str, str] for r in rounds):
        raise WrongType(f"pairs of texts in 'history', got {type(rounds).__name__} of something else")
    return [Turn(role, text) for pair in rounds for role, text in zip(("user", "assistant"), pair, strict=True)]


def _system_turn(others: dict[str, Any]) -> list[Turn]:
    """Take a system message that is a column of its own."""
    system = others.get("system")
    if system is not None and not isinstance(system, str):
        raise WrongType(f"text in 'system', got {type(system).__name__}")
    return [Turn("system", others.pop("system"))] if system and system.strip() else []


def _conversation_column(row: Mapping[str, Any]) -> str | None:
    lists = [name for name in _CONVERSATIONS if isinstance(row.get(name), list)]
    lists = [name for name in lists if name != "conversation" or any(isinstance(turn, Mapping) for turn in row[name])]
    return next((name for name in lists if row[name]), lists[0] if lists else None)


def _conversation_in(*columns: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    def read(row: Mapping[str, Any]) -> dict[str, Any]:
        column = _conversation_column({name: row[name] for name in columns if name in row})
        if column is None:
            raise NoField(columns[0])
        others = {k: v for k, v in row.items() if k != column}
        turns = read_turns(row[column])
        if turns and turns[0].role != "system":
            turns = [*_system_turn(others), *turns]
        if turns and turns[-1].role in ("user", "tool"):
            turns += _ending(others, _ENDINGS)
        return _dialogue(turns, others, column)

    return read


def _is_in_parts(row: Mapping[str, Any]) -> bool:
    """Whether prompt and completion are columns of their own with turns in them, or the answers are a pair."""
    if isinstance(row.get("prompt"), list) or isinstance(row.get("preferred_output"), list):
        return True
    if any(has_turns(row.get(name)) for name in ("chosen", "completion")):
        return True
    is_pair = all(isinstance(row.get(name), str) for name in ("chosen", "rejected"))
    return is_pair and "instruction" not in row and all(row.get(name) is None for name in _ANSWERS)


def _parts(row: Mapping[str, Any]) -> dict[str, Any]:
    """TRL's and OpenAI's prompt and completion, or prompt and two answers: texts, or lists of turns."""
    others = dict(row)
    asked = others.pop("input") if isinstance(row.get("input"), Mapping) else {}
    others |= {name: value for name, value in asked.items() if name != "messages"}
    prompt = asked["messages"] if "messages" in asked else _prompt_of(others)
    turns = [Turn("user", prompt)] if isinstance(prompt, str) else read_turns(prompt)
    if row.get("label") is False and "completion" in others:
        others["rejected"] = others.pop("completion")  # TRL's unpaired preference
    ending = _ending(others, (*_ENDINGS, *_ANSWERS))
    if _is_whole(ending, turns, prompt):
        if isinstance(prompt, str) and not any(turn.content == prompt for turn in ending):
            others["prompt"] = prompt
        turns = []
    if not turns or turns[0].role != "system":
        turns = [*_system_turn(others), *turns]
    fields = _dialogue([*turns, *ending], others, "prompt")
    if isinstance(prompt, str) and len(turns) == 1 and all(isinstance(row.get(n), str | None) for n in _ENDINGS):
        fields.pop("messages")
    return fields


def _is_whole(ending: list[Turn], turns: list[Turn], prompt: Any) -> bool:
    """Whether an answer is a whole conversation, its prompt included, and not what comes behind the prompt."""
    if not any(turn.role == "user" for turn in ending) or ending[0].role in ("assistant", "tool"):
        return False
    return isinstance(prompt, str) or all(asked.message == said.message for asked, said in zip(turns, ending, strict=False))


def _prompt_of(others: dict[str, Any]) -> Any:
    name = _first_filled(others, _PROMPTS)
    return [] if name is None else others.pop(name)


def _ending(others: dict[str, Any], names: tuple[str, ...]) -> list[Turn]:
    """Take the answer out of a row whose conversation ends before it: as text, one turn, or several."""
    name = next((n for n in names if isinstance(others.get(n), str) or has_turns(others.get(n))), None)
    if name is None:
        return []
    value = others.pop(name)
    if isinstance(value, str):
        return [Turn("assistant", value)]
    return read_turns(value if isinstance(value, list) else [value])


def _dialogue(turns: list[Turn], others: dict[str, Any], column: str) -> dict[str, Any]:
    """The canonical fields of a conversation; an `answer` among the others is the answer of one that ends before it."""
    users = [place for place, turn in enumerate(turns) if turn.role == "user"]
    if not users:
        raise NoField(f"{column}: a user turn")
    asked, after = turns[: users[-1] + 1], turns[users[-1] + 1 :]
    answer = after.pop() if after and after[-1].role == "assistant" else None
    if answer is not None and not answer.is_trained_on:
        raise NoField(f"{column}: an answer that is to be learnt (the last turn has weight 0)")
    if answer is None and after and not isinstance(others.get("answer"), str):
        raise WrongType("a conversation that ends with a turn of the user or the assistant, got another last turn")
    fields: dict[str, Any] = {"prompt": asked[-1].content, "messages": [turn.message for turn in asked]}
    fields |= {"tool_turns": [turn.message for turn in after]} if after else {}
    if answer is not None:
        thought = answer.more.pop("reasoning_content", None)
        fields |= {"answer": answer.content} | ({"reasoning": thought} if thought else {})
    if any(turn.more for turn in turns):
        fields["turn_fields"] = [turn.more for turn in turns]
    fields |= rejected_fields(others, [*asked, *after])
    return _with_others(fields, others)


def _record(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row unchanged, with a prompt that lists its fields, one `name: value` per line."""
    lines = "\n".join(f"{name}: {value}" for name, value in row.items() if value is not None)
    return _with_others({"prompt": lines}, row)


_SHAPES = {
    "plain": _plain,
    "record": _record,
    "alpaca": _alpaca,
    "messages": _conversation_in("messages"),
    "sharegpt": _conversation_in("conversations", "conversation"),
    "parts": _parts,
}
