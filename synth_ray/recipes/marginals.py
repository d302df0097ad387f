"""Learns the kind and the distribution of each field of a table, and samples similar records from them.

Law: a value or combination that fewer than `rarer_than` records have is never sampled, nor is the end of a range that only one
record reaches.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from synth_ray.errors import JobError
from synth_ray.records import canonical_json

Marginals = Mapping[str, Any]
"""`fields`: kind and marginal distribution by name; `together`: joint distributions of combinations. JSON, because it is part of
the job.
"""

_BINS = 20
# distinct values, or a twentieth of the records, up to which a text is a category; whole numbers up to this alone
_MAX_CATEGORIES = 20


def learn_marginals(
    records: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    *,
    kinds: Mapping[str, str],
    together: Sequence[Sequence[str]],
    rarer_than: int,
) -> dict[str, Any]:
    """Learn the marginals of these records. `kinds` overrides the kinds inferred from the values. Raises JobError if a field has
    only rare values, a combination cannot be learned, or no field is text.
    """
    fields = {name: _field(name, [record.get(name) for record in records], kinds.get(name), rarer_than) for name in names}
    if not any(field["kind"] == "text" for field in fields.values()):
        raise JobError(
            f"recipe.record: wanted a field of free text for the teacher to write, got none among {', '.join(names)}; name its "
            "kind in recipe.schema, or draw the table without a teacher"
        )
    return {"fields": fields, "together": [_joint_marginals(records, group, fields, rarer_than) for group in together]}


def _field(name: str, values: Sequence[Any], kind: str | None, rarer_than: int) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    known_kind = kind or _kind(known)
    missing = len(values) - len(known)
    field: dict[str, Any] = {"kind": known_kind, "missing": missing / len(values) if missing >= rarer_than else 0.0}
    if known_kind == "text":
        return field
    if known_kind == "category":
        counts = Counter(map(_key, known))
        field["values"] = [[value, n] for value, n in _by_key(known, counts) if n >= rarer_than]
    else:
        field |= _range([_number(value) for value in known], known_kind, rarer_than)
    if not field.get("values", field.get("edges")):
        raise JobError(
            f"recipe.record: {name}: wanted values that at least {rarer_than} records hold, got none; call it text in "
            "recipe.schema, leave it out of recipe.record, or give more records"
        )
    return field


def _kind(values: Sequence[Any]) -> str:
    if any(isinstance(value, (list, dict)) for value in values):
        return "text"
    different = len(set(map(_key, values)))
    few = different <= max(_MAX_CATEGORIES, len(values) / 20) and different < len(values)
    if all(isinstance(value, bool) for value in values):
        return "category"
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        is_whole = all(isinstance(value, int) for value in values)
        return "category" if is_whole and different <= _MAX_CATEGORIES else "integer" if is_whole else "number"
    if all(isinstance(value, str) and _is_date(value) for value in values):
        return "date"
    return "category" if few else "text"


def _is_date(value: str) -> bool:
    try:
        return len(value) == 10 and date.fromisoformat(value) is not None
    except ValueError:
        return False


def _number(value: Any) -> float:
    return date.fromisoformat(value).toordinal() if isinstance(value, str) else float(value)


def _range(values: Sequence[float], kind: str, rarer_than: int) -> dict[str, Any]:
    """Edges of bins with equally many records. The outermost are means of the `rarer_than` lowest and highest values. No edges if
    there are fewer than twice `rarer_than` values.
    """
    if len(values) < 2 * rarer_than:
        return {"edges": []}
    ordered = sorted(values)
    low, high = (sum(part) / rarer_than for part in (ordered[:rarer_than], ordered[-rarer_than:]))
    bins = max(1, min(_BINS, len(ordered) // rarer_than))
    inner = [ordered[len(ordered) * i // bins] for i in range(1, bins)]
    edges = [low, *(min(max(edge, low), high) for edge in inner), high]
    decimals = 0 if kind != "number" else min(6, max(_decimals(value) for value in values))
    return {"edges": [round(edge, 6) for edge in edges], "decimals": decimals}


def _decimals(value: float) -> int:
    return len(repr(value).partition(".")[2].rstrip("0")) if math.isfinite(value) else 0


def _joint_marginals(
    records: Sequence[Mapping[str, Any]], group: Sequence[str], fields: Mapping[str, Any], rarer_than: int
) -> dict[str, Any]:
    wrong = [name for name in group if fields.get(name, {}).get("kind") != "category"]
    if wrong:
        raise JobError(f"recipe.together: wanted fields of few values, got {', '.join(wrong)}; numbers are drawn by themselves")
    rows = [[record.get(name) for name in group] for record in records]
    common = [[value, n] for value, n in _by_key(rows, Counter(map(_key, rows))) if n >= rarer_than]
    if not common:
        raise JobError(f"recipe.together: wanted combinations of {', '.join(group)} that {rarer_than} records hold, got none")
    return {"fields": list(group), "values": common}


def _key(value: Any) -> bytes:
    return canonical_json(value)


def _by_key(values: Sequence[Any], counts: Mapping[bytes, int]) -> list[tuple[Any, int]]:
    by_key = {_key(value): value for value in values}
    return [(by_key[key], counts[key]) for key in sorted(by_key)]


def sample_record(table: Marginals, draw: random.Random) -> dict[str, Any]:
    """A value of every field except free text, sampled from its marginal or joint distribution."""
    record: dict[str, Any] = {}
    for group in table["together"]:
        record |= dict(zip(group["fields"], _sample_value(group["values"], draw), strict=True))
    for name, field in table["fields"].items():
        if name not in record and field["kind"] != "text":
            record[name] = None if draw.random() < field["missing"] else _sample_field(field, draw)
    return record


def _sample_field(field: Mapping[str, Any], draw: random.Random) -> Any:
    if field["kind"] == "category":
        return _sample_value(field["values"], draw)
    at = draw.randrange(len(field["edges"]) - 1)
    value = draw.uniform(*field["edges"][at : at + 2])
    if field["kind"] == "date":
        return date.fromordinal(round(value)).isoformat()
    return round(value) if field["kind"] == "integer" else round(value, field["decimals"])


def _sample_value(values: Sequence[Any], draw: random.Random) -> Any:
    return draw.choices([value for value, _ in values], [n for _, n in values])[0]
