"""Example rows: accepted ones, rejected ones beside the row they repeat, and rows at the edge of a threshold."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from synth_ray.dataset.card.markdown import block, literal, without_folders

_COMPARED_SENTENCES = 200
_SENTENCES = re.compile(r"(?<=[.!?])[ \t]+|\n")


def example_lines(examples: Mapping[str, Any]) -> list[str]:
    """The section; empty without an example."""
    by_reason = _mapping(examples.get("rejected"))
    accepted = [line for row in _mappings(examples.get("accepted")) for line in _accepted(row)]
    rejected = [line for reason, rows in sorted(by_reason.items()) for line in _rejected(reason, _mappings(rows))]
    edges = [line for edge in _mappings(examples.get("edges")) for line in _edge(edge)]
    lines = list(accepted)
    lines += ["### Rejected, by reason", "", *rejected] if rejected else []
    lines += ["### At the edge of a threshold", "", *edges] if edges else []
    return ["## Examples", "", *lines] if lines else []


def _accepted(row: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"_{_label(row)}_", "", *block(_text(row)), "")


def _rejected(reason: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for row in rows:
        witness = _mapping(row.get("witness"))
        detail = f": {literal(row['detail'])}" if row.get("detail") else ""
        yield from (f"_{literal(reason)}{detail} · {_label(row)}_", "")
        if not witness:
            yield from (*block(_text(row)), "")
        else:
            yield from _beside(row, witness, "the rejected row", "the kept row that it repeats")


def _edge(edge: Mapping[str, Any]) -> Iterator[str]:
    row, beside = _mapping(edge.get("row")), _mapping(edge.get("beside"))
    value, limit = _number(edge.get("value")), _number(edge.get("limit"))
    yield from (f"_{literal(edge.get('measure', ''))} {value}, limit {limit} · {_label(row)}_", "")
    if not beside:
        yield from (*block(_text(row)), "")
    else:
        yield from _beside(row, beside, "this row", "the row it was compared with")


def _beside(row: Mapping[str, Any], other: Mapping[str, Any], name: str, other_name: str) -> Iterator[str]:
    """Two rows as one difference, sentence by sentence: what only `row` says is marked -, what only `other` says +."""
    similarity = row.get("similarity")
    how = f", similarity {_number(similarity)}" if similarity is not None else ""
    yield from (f"`-` {name}, `+` {other_name}{how}:", "")
    yield from (*block("\n".join(_difference(_text(row), _text(other))), "diff"), "")


def _difference(text: str, other: str) -> Iterator[str]:
    """The first _COMPARED_SENTENCES of each, one by one, for the time grows with their product; what follows, as a whole."""
    mine, theirs = _SENTENCES.split(text), _SENTENCES.split(other)
    first, other_first = mine[:_COMPARED_SENTENCES], theirs[:_COMPARED_SENTENCES]
    matcher = SequenceMatcher(None, first, other_first, autojunk=False)
    for kind, start, end, other_start, other_end in matcher.get_opcodes():
        yield from _marked(first[start:end], other_first[other_start:other_end], alike=kind == "equal")
    rest, other_rest = mine[_COMPARED_SENTENCES:], theirs[_COMPARED_SENTENCES:]
    yield from _marked(rest, other_rest, alike=rest == other_rest)


def _marked(mine: Sequence[str], theirs: Sequence[str], *, alike: bool) -> Iterator[str]:
    if alike:
        yield from (f"  {line}" for line in mine)
    else:
        yield from (f"- {line}" for line in mine)
        yield from (f"+ {line}" for line in theirs)


def _label(row: Mapping[str, Any]) -> str:
    known = [row.get("split"), row.get("class"), row.get("origin"), without_folders(str(row.get("teacher") or ""))]
    return " · ".join(word for fact in known if fact and (word := literal(fact).strip())) or "row"


def _text(row: Mapping[str, Any]) -> str:
    """The turns, each behind its role, and the fields that have a value."""
    lines = [line for turn in _mappings(row.get("messages")) for line in _turn(turn)]
    for name, value in _mapping(row.get("fields")).items():
        if value not in (None, "", [], {}):
            lines.append(f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
    return "\n\n".join(lines)


def _turn(turn: Mapping[str, Any]) -> Iterator[str]:
    """What was thought, where it was, and what was said."""
    role = turn.get("role") or ""
    if turn.get("reasoning"):
        yield f"{role}, thinking: {turn['reasoning']}"
    yield f"{role}: {turn.get('content') or ''}"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, (int, float)) else literal(value)
