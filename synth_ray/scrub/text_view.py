"""A text with indexes shared by all detectors: UTF-8 bytes, offsets, and windows in which a match is possible. And the plain
form of a text, in which the detectors read it.
"""

from __future__ import annotations

import bisect
import re
import time
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
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


_ESCAPES = ((r"\n", " \n"), (r"\r", " \n"), (r"\t", "  "))
_ESCAPED_CODE = re.compile(r"\\u(?:00(?:2[0267]|3[cdeCDE]|[aA]0|0[9aAdD])|20(?:0[0-9abAB]|2[89fF]))")
"""As JSON writes spaces, line breaks, and the signs that enclose an address: < > = & and quotes."""
_ESCAPED_SIGNS = {"003c": "<", "003e": ">", "003d": "=", "0026": "&", "0027": "'", "0022": '"'}
_SCRIPTS = (
    r"\u0590-\u06ff\u0e00-\u0eff\u1000-\u11ff\u1780-\u17ff\u3005-\u30ff\u3130-\u318f\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
    r"\uff66-\uff9f"
)
"""Scripts that write words without spaces, or join particles to what is before or after: Hebrew and Arabic to Chinese."""
_SIGNS = r"\u00a0\u1680\u2000-\u2015\u2028\u2029\u202f\u205f\u2060\u2212\u3000\ufeff\ufe50-\ufe6b\uff01-\uff5e"
"""Special spaces and hyphens, and the full-width and small forms of ASCII signs."""
_UNUSUAL = re.compile(
    rf"(?P<letters>(?<=@)[{_SCRIPTS}][{_SCRIPTS}.\-]*|(?:(?!\d)[{_SCRIPTS}])+)|(?P<sign>[{_SIGNS}]|(?![0-9])\d)"
)
_PHONE_WORDS = re.compile("(电话|電話|手机|手機|携帯|전화번호|전화|휴대폰|טלפון|هاتف|โทร)")
_LETTER = "\x01"
"""Stands for such a letter: no part of a word to any detector, and neither a space nor a sign within a number."""
PHONE_WORD = "\x02"
"""Stands for each letter of a word for telephone in such a script."""


def plain_form(text: str) -> str:
    r"""The text as detectors read it, character for character: full-width characters and special spaces, hyphens and digits as
    ASCII; a literal \n, \t or \r as white space; letters of scripts without spaces, such as Chinese, as no letters.

    Law: it is as long as the text, so that the spans found in it are spans of the text.
    """
    if "\\" in text:
        for escape, space in _ESCAPES:
            text = text.replace(escape, space)
        if "\\u" in text:
            text = _ESCAPED_CODE.sub(_unescaped, text)
    return text if text.isascii() else _UNUSUAL.sub(_plain, text)


def _unescaped(m: re.Match[str]) -> str:
    return _ESCAPED_SIGNS.get(m[0][-4:].lower(), " ").rjust(len(m[0]))


def _plain(m: re.Match[str]) -> str:
    if m.lastgroup == "sign":
        return _plain_sign(m[0])
    if "@" in (m.string[m.start() - 1 : m.start()], m.string[m.end() : m.end() + 1]):
        return m[0]  # part of an address in that script
    pieces = _PHONE_WORDS.split(m[0])
    return "".join((PHONE_WORD if i % 2 else _LETTER) * len(piece) for i, piece in enumerate(pieces))


@lru_cache(maxsize=4096)
def _plain_sign(sign: str) -> str:
    digit = unicodedata.decimal(sign, None)
    if digit is not None:
        return str(digit)
    if "\u2010" <= sign <= "\u2013" or sign == "\u2212":
        return "-"
    plain = unicodedata.normalize("NFKC", sign)
    return plain if len(plain) == 1 and plain.isascii() else " "
