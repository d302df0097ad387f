"""Markdown in which no text of a row, a template or a job can be taken for Markdown or HTML."""

from __future__ import annotations

import re
from collections.abc import Iterable

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_MARKS = re.compile(r"[\\`*\[\]|~$#]|(?<!\w)_|_(?!\w)")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_FENCES = re.compile(r"`{3,}")
_LOCAL_FOLDERS = re.compile(r"(?<!\S)(?:file://)?(?:/[^\s/]+)*/([^\s/]+)/?")


def literal(value: object) -> str:
    """The value as one line of Markdown that shows it character by character; whole numbers with separators."""
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    text = _CONTROLS.sub(" ", text)
    for character, entity in _ENTITIES.items():
        text = text.replace(character, entity)
    return _MARKS.sub(lambda match: "\\" + match[0], text)


def table(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> list[str]:
    """The lines of a table; each cell is a `literal`."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return lines + [f"| {' | '.join(literal(value) for value in row)} |" for row in rows]


def block(text: str, language: str = "text") -> list[str]:
    """The lines of a code block, in a fence that is longer than any in the text."""
    text = text.replace("\0", "\ufffd").replace("\r\n", "\n").replace("\r", "\n")
    longest = max((len(run) for run in _FENCES.findall(text)), default=2)
    fence = "`" * (longest + 1)
    return [f"{fence}{language}", text, fence]


def without_folders(name: str) -> str:
    """The text with each absolute local path reduced to its last name: the folders of one machine help nobody else."""
    return _LOCAL_FOLDERS.sub(r"\1", name)
