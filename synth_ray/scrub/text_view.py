"""A text with indexes shared by all detectors: UTF-8 bytes, offsets, and windows in which a match is possible."""

from __future__ import annotations

import bisect
import re
import time
from collections.abc import Sequence
from typing import Any

TextRange = tuple[int, int]

_TRIGGERS = {
    "digit": re.compile(r"\d+"),
    "ipv4": re.compile(r"\d\.\d{1,3}\.\d{1,3}\.\d"),
    "wallet": re.compile(r"(?i:bc1|[13])[^\W_]{25}"),
    "at": re.compile(r"(?<=[!#$%&'*+\-/=?^_`{|}~\w])@(?=\w+(?:-+\w+)*\.\w)"),
}
"""By name, an expression that every match of certain regexes contains: only windows around it need searching."""
_DELIMITER = re.compile(r"""[\s()<>"']""")
_DOT = re.compile(r"\.[A-Za-z]")


class TextView:
    """A text with its windows, each computed on first use."""

    __slots__ = ("_data", "_starts", "_urls", "_windows", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._windows: dict[str, Sequence[TextRange]] = {"": ((0, len(text)),)}
        self._urls: Sequence[TextRange] | None = None
        self._data: bytes | None = None
        self._starts: Any = None

    @property
    def data(self) -> bytes:
        """The text as UTF-8, with a lone surrogate as three bytes."""
        if self._data is None:
            self._data = self.text.encode("utf-8", "surrogatepass")
        return self._data

    def char_offset(self, offset: int) -> int:
        """The character offset of a byte offset of `data`."""
        if len(self.data) == len(self.text):
            return offset
        if self._starts is None:
            import numpy as np

            self._starts = np.cumsum((np.frombuffer(self.data, np.uint8) & 0xC0) != 0x80, dtype=np.int32)
        return int(self._starts[offset - 1]) if offset else 0

    def windows(self, trigger: str) -> Sequence[TextRange]:
        """The stretches between spaces or newlines that contain the trigger, with the delimiter on either side."""
        if trigger not in self._windows:
            self._windows[trigger] = _windows(self.text, _TRIGGERS[trigger])
        return self._windows[trigger]

    def url_windows(self) -> Sequence[TextRange]:
        """The stretches between characters that no URL contains, with the delimiter on either side, that have a dot before a
        letter.
        """
        if self._urls is None:
            self._urls = _url_windows(self.text)
        return self._urls


def _windows(text: str, trigger: re.Pattern[str]) -> list[TextRange]:
    ranges: list[TextRange] = []
    high = -1
    for m in trigger.finditer(text):
        i = m.start()
        if i < high:
            continue
        low = max(text.rfind(" ", 0, i), text.rfind("\n", 0, i), 0)
        space, line = text.find(" ", i), text.find("\n", i)
        high = (min(space, line) if space >= 0 and line >= 0 else max(space, line)) + 1 or len(text)
        ranges.append((low, high))
    return ranges


def _url_windows(text: str) -> list[TextRange]:
    delimiters = [m.start() for m in _DELIMITER.finditer(text)]
    ranges: list[TextRange] = []
    for m in _DOT.finditer(text):
        i = m.start()
        if ranges and i < ranges[-1][1]:
            continue
        k = bisect.bisect_left(delimiters, i)
        low = delimiters[k - 1] if k else 0
        high = delimiters[k] + 1 if k < len(delimiters) else len(text)
        ranges.append((low, high))
    return ranges


def seconds_left(deadline: float) -> float:
    """Seconds until a deadline on `time.monotonic`, at most 3600. Raises TimeoutError if it has passed."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return min(left, 3600.0)
