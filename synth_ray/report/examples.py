"""The example rows of a dataset, made ready for a page: scrubbed text in, bounded text out, differences marked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from synth_ray.report.difference import Piece, differences
from synth_ray.report.numerals import is_number, plain, short
from synth_ray.report.words import LIMITS, VERDICTS, reason_entry, reason_title, verdict_word, without_codes

_BUDGET = 450_000
"""Bytes that the texts of all rows may have together."""
_CHARACTERS = (600, 300, 150, 80, 40)
"""Lengths that a text is cut to, the first that fits the budget."""
_MESSAGES = 6
_FIELDS = 8
_ROWS = 300

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """`is_other`: it is hardly like the message it stands beside, so nothing in it is marked. `thought` came before the text."""

    role: str
    pieces: Sequence[Piece]
    is_other: bool = False
    thought: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """One row as it is shown. `left_out` messages lie between the first and the last that are shown."""

    id: str
    facts: Mapping[str, str]
    messages: Sequence[Message]
    fields: Sequence[tuple[str, str]]
    detail: str = ""
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Example:
    """A row, the row it is shown beside, and why they are shown: `remark`."""

    row: Record
    beside: Record | None = None
    remark: str = ""
    beside_title: str = ""
    same: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Examples under one heading. `advice` names job keys in backticks; `of` is how many such rows there are, 0 where
    that is not known.
    """

    id: str
    title: str
    lead: str
    examples: Sequence[Example]
    code: str = ""
    advice: str = ""
    of: int = 0

    @property
    def in_columns(self) -> bool:
        """Whether its rows stand in two columns, as none is beside another."""
        return not any(example.beside for example in self.examples)


@dataclass(frozen=True, slots=True)
class Examples:
    groups: Sequence[Group] = ()
    choices: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(len(group.examples) for group in self.groups)


def arranged(examples: Mapping[str, Any] | None, counts: Mapping[str, Any]) -> Examples:
    """The examples in the order they are shown: accepted rows, rejected rows by reason, rows at the edge of a limit.

    `counts` are the manifest's rows: the commonest reason comes first.
    """
    raw = examples or {}
    cut = _cut(raw)
    groups = [group for group in (_accepted(raw, cut, counts), *_rejected(raw, cut, counts), _edges(raw, cut)) if group.examples]
    return Examples(_bounded(groups), _choices(groups))


def _bounded(groups: Sequence[Group]) -> list[Group]:
    """At most _ROWS examples, the first ones."""
    kept, room = [], _ROWS
    for group in groups:
        if room > 0:
            kept.append(replace(group, examples=group.examples[:room]))
        room -= len(group.examples)
    return kept


def _accepted(raw: Mapping[str, Any], cut: int, counts: Mapping[str, Any]) -> Group:
    rows = [Example(_record(row, "accepted", cut)) for row in raw.get("accepted") or ()]
    return Group(
        "accepted-rows", "Accepted", "Drawn across classes and splits, the same at every run.", rows, of=counts.get("accepted", 0)
    )


def _rejected(raw: Mapping[str, Any], cut: int, counts: Mapping[str, Any]) -> Iterator[Group]:
    lost = {**(counts.get("failed") or {}), **(counts.get("rejected") or {})}
    for reason, rows in sorted((raw.get("rejected") or {}).items(), key=lambda item: (-lost.get(item[0], 0), item[0])):
        entry = reason_entry(reason)
        shown = [_beside_witness(row, reason, cut) for row in rows or ()]
        meaning, advice = (entry.meaning, entry.advice) if entry else ("", "")
        yield Group(f"rejected-{reason}", reason_title(reason), meaning, shown, reason, advice, lost.get(reason, 0))


def _edges(raw: Mapping[str, Any], cut: int) -> Group:
    shown = [_edge(edge, cut) for edge in raw.get("edges") or () if edge.get("row")]
    lead = "The rows nearest to a limit, on either side of it: would you decide as the limit did?"
    return Group("edge-rows", "At the edge of a limit", lead, shown)


def _beside_witness(row: Row, reason: str, cut: int) -> Example:
    verdict = verdict_word(reason)
    witness = row.get("witness")
    remark = f"Similarity {plain(row['similarity'])}." if is_number(row.get("similarity")) else ""
    return _pair({"reason": reason} | dict(row), verdict, witness if isinstance(witness, Mapping) else None, remark, cut)


def _edge(edge: Mapping[str, Any], cut: int) -> Example:
    measure, row = str(edge.get("measure", "")), edge["row"]
    name = LIMITS.get(measure, measure)
    value, limit = plain(edge.get("value")), plain(edge.get("limit"))
    remark = f"{name[:1].upper()}{name[1:]}: this row has {value}, the limit is {limit} (`{measure}`)."
    beside = edge.get("beside")
    verdict = verdict_word(row.get("reason"))
    return _pair(row, verdict, beside if isinstance(beside, Mapping) else None, remark, cut)


def _pair(row: Row, verdict: str, other: Row | None, remark: str, cut: int) -> Example:
    if other is None:
        return Example(_record(row, verdict, cut), remark=remark)
    ours, theirs = _shown(row, cut), _shown(other, cut)
    left, right = list(map(_whole, ours)), list(map(_whole, theirs))
    for n, ((_, a), (_, b)) in enumerate(zip(ours, theirs, strict=False)):
        pieces, others = differences(a, b)
        is_other = a != b and not any(differs for _, differs in (*pieces, *others))
        left[n], right[n] = Message(left[n].role, pieces), Message(right[n].role, others, is_other)
    is_whole = not any(text.endswith("…") for _, text in (*ours, *theirs)) and _message_count(row) == len(ours)
    same = is_whole and [text for _, text in ours] == [text for _, text in theirs]
    return Example(_record(row, verdict, cut, left), _record(other, "accepted", cut, right), remark, "The kept row", same)


def _message_count(row: Row) -> int:
    return int(row.get("messages_in_all") or len(row.get("messages") or ()))


def _whole(shown: tuple[str, str]) -> Message:
    role, text = shown
    return Message(role, [(text, False)])


def _record(row: Row, verdict: str, cut: int, messages: Sequence[Message] | None = None) -> Record:
    reason = str(row.get("reason") or "") if verdict != "accepted" else ""
    facts = {"verdict": VERDICTS.get(verdict, verdict), "reason": reason_title(reason) if reason else ""}
    facts |= {name: short(row.get(name) or "", 60) for name in ("split", "class", "origin", "teacher")}
    fields = [
        (short(name, 40), short(_text(value), min(cut, 160))) for name, value in list((row.get("fields") or {}).items())[:_FIELDS]
    ]
    shown = list(map(_whole, _shown(row, cut))) if messages is None else messages
    shown = [replace(message, thought=thought) for message, thought in zip(shown, _thoughts(row, cut), strict=True)]
    left_out = max(0, _message_count(row) - len(shown))
    return Record(
        str(row.get("id", ""))[:12], facts, shown, fields, short(without_codes(str(row.get("detail") or "")), 200), left_out
    )


def _shown(row: Row, cut: int) -> list[tuple[str, str]]:
    """Role and text of the first messages and of the last, which is the answer."""
    return [(short(message.get("role", ""), 40), short(_text(message.get("content")), cut)) for message in _kept_messages(row)]


def _thoughts(row: Row, cut: int) -> list[str]:
    """What was thought before each of the messages that are shown."""
    return [short(_text(message.get("reasoning")), cut) for message in _kept_messages(row)]


def _kept_messages(row: Row) -> list[Mapping[str, Any]]:
    messages = list(row.get("messages") or ())
    return messages if len(messages) <= _MESSAGES else messages[:2] + messages[2 - _MESSAGES :]


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _choices(groups: Sequence[Group]) -> dict[str, list[str]]:
    """The values of each fact that examples can be filtered by; only of facts with more than one value."""
    records = [example.row for group in groups for example in group.examples]
    found = {
        name: sorted({r.facts[name] for r in records if r.facts.get(name)}) for name in ("split", "class", "verdict", "reason")
    }
    return {name: values[:_ROWS] for name, values in found.items() if len(values) > 1}


def _cut(raw: Mapping[str, Any]) -> int:
    """The length that texts are cut to, so that all of them together keep within the budget."""
    texts = [text for row in _every_row(raw) for _, text in _shown(row, _CHARACTERS[0])]
    texts += [text for row in _every_row(raw) for text in _thoughts(row, _CHARACTERS[0]) if text]
    for limit in _CHARACTERS:
        if sum(len(text[:limit].encode()) + 60 + 4 * sum(map(text[:limit].count, "<>&'\"")) for text in texts) <= _BUDGET:
            return limit
    return _CHARACTERS[-1]


def _every_row(raw: Mapping[str, Any]) -> Iterator[Row]:
    pairs = [(row, "witness") for rows in (raw.get("rejected") or {}).values() for row in rows or ()]
    pairs += [(edge.get("row") or {}, "") for edge in raw.get("edges") or ()]
    yield from raw.get("accepted") or ()
    for row, key in pairs:
        yield row
        if key and isinstance(row.get(key), Mapping):
            yield row[key]
    yield from (edge["beside"] for edge in raw.get("edges") or () if isinstance(edge.get("beside"), Mapping))
