"""Any value of a column as JSON that a browser shows as it is: nothing is lost to a browser's numbers, and no type is refused."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

_LARGEST_INTEGER = 2**53  # beyond it a browser's numbers round
_LONGEST_BYTES = 64
EXCERPT = 300
"""Characters of a text in a list of rows."""


def plain(value: Any) -> Any:
    """The value as JSON: bytes as hex, numbers that JSON lacks and everything unknown as text."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return value if abs(value) <= _LARGEST_INTEGER else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        return f"{len(value):,} bytes: {value[:_LONGEST_BYTES].hex()}" + (" …" if len(value) > _LONGEST_BYTES else "")
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(one) for one in value]
    return str(value)


def excerpt(text: str | None, sought: str) -> str:
    """The beginning of a text, or the part around the first place where what is sought occurs."""
    if not text:
        return ""
    found = re.search(re.escape(sought), text, re.IGNORECASE) if sought else None
    start = max(0, found.start() - EXCERPT // 3) if found and found.end() > EXCERPT else 0
    end = start + EXCERPT
    return ("…" if start else "") + text[start:end] + ("…" if end < len(text) else "")
