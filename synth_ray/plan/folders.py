"""Fields that folders name, as Hive, Spark and DuckDB write them: `lang=de/part.jsonl` gives its rows the field `lang`."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from synth_ray.plan.plain import BadRow, Row
from synth_ray.records import Reason

_NULL = "__HIVE_DEFAULT_PARTITION__"
_FOLDER = re.compile(r"([A-Za-z_][\w.-]*)=(.*)", re.DOTALL)


def fields_of_folders(path: str) -> dict[str, str | None]:
    """By name, the text of each folder `name=value` of the path, URL-decoded; null for Hive's word for it."""
    found = (_FOLDER.fullmatch(folder) for folder in path.split("/")[:-1])
    return {match[1]: None if match[2] == _NULL else unquote(match[2]) for match in found if match}


def with_folders(row: Row | BadRow, folders: dict[str, str | None]) -> Row | BadRow:
    """The row with these fields. Its own value stays where both say the same; where they differ, the row is rejected."""
    if isinstance(row, BadRow) or not isinstance(row.value, dict):
        return row
    for name, text in folders.items():
        own = row.value.get(name)
        if own is not None and text is not None and not _same(own, text):
            return BadRow(row.line, Reason.WRONG_TYPE, f"a '{name}' that differs from its folder's")
    return Row(row.line, row.value | {name: text for name, text in folders.items() if row.value.get(name) is None})


def _same(own: Any, text: str) -> bool:
    if isinstance(own, bool):
        return text.casefold() == str(own).casefold()
    if isinstance(own, (int, float)):
        try:
            return float(text) == own
        except ValueError:
            return False
    return bool(own == text)
