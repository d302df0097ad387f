"""The strings and long numbers of a nested value, and the value rebuilt with those that hold a finding replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

Path = tuple[str | int, ...]


class Leaf(NamedTuple):
    """One string, or number as text, to scan. `key_words` are the words of the key it is under; they are scanned with it:
    `ssn: 536904399`.
    """

    key_words: str
    text: str

    def with_key_words(self, text: str) -> str:
        """What is scanned where the leaf's text is this."""
        return f"{self.key_words}: {text}" if self.key_words else text


_TEXT_KEYS = frozenset({"content", "role", "text", "prompt", "completion", "response", "instruction", "input", "output"})
_MIN_NUMBER, _MAX_NUMBER = 10**3, 10**19
"""A PIN has four digits and a payment card at most nineteen: other numbers identify nobody and are not read."""
Replace = Callable[[Leaf, Path], str]


def leaves_of(value: Any) -> Iterator[Leaf]:
    """Every string and every whole number of 4 to 19 digits of the value in document order, keys included, each as often as it
    occurs.
    """
    yield from _leaves(value, "")


def _leaves(value: Any, key_words: str) -> Iterator[Leaf]:
    if isinstance(value, str):
        yield Leaf(key_words, value)
    elif isinstance(value, (int, float)):
        if digits := _digits_of(value):
            yield Leaf(key_words, digits)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if isinstance(name, str):
                yield Leaf("", name)
            yield from _leaves(inner, words_of_key(name))
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _leaves(inner, key_words)


def _digits_of(number: float) -> str:
    """The digits of a whole number that may identify someone, else an empty string. 14155550123.0 is 14155550123."""
    return str(int(number)) if _MIN_NUMBER <= number < _MAX_NUMBER and number == int(number) else ""


def rebuild(value: Any, replace: Replace, path: Path = (), key_words: str = "") -> Any:
    """The value with each string replaced, keys included, and each number that `replace` changes as the text it becomes. A path
    contains the replaced key, never the original one.

    The i-th key of a mapping is replaced under the path (…, "*", i).
    """
    if isinstance(value, str):
        return replace(Leaf(key_words, value), path)
    if isinstance(value, (int, float)):
        digits = _digits_of(value)
        new = replace(Leaf(key_words, digits), path) if digits else ""
        return value if new == digits else new
    if isinstance(value, dict):
        return _rebuild_mapping(value, replace, path)
    if isinstance(value, (list, tuple)):
        return [rebuild(inner, replace, (*path, i), key_words) for i, inner in enumerate(value)]
    return value


def _rebuild_mapping(value: dict[Any, Any], replace: Replace, path: Path) -> dict[Any, Any]:
    new: dict[Any, Any] = {}
    for i, (name, inner) in enumerate(value.items()):
        key = replace(Leaf("", name), (*path, "*", i)) if isinstance(name, str) else name
        new[key] = rebuild(inner, replace, (*path, key if isinstance(key, (str, int)) else i), words_of_key(name))
    return new


def words_of_key(name: Any) -> str:
    """The words of a key: `phone_number`, `phoneNumber` and `phone_number2` become "phone number", chat keys such as `content`
    "".
    """
    if not isinstance(name, str) or name in _TEXT_KEYS or len(name) > 60:
        return ""
    spaced = "".join(f" {c}" if c.isupper() and i and name[i - 1].islower() else c for i, c in enumerate(name))
    return " ".join(spaced.rstrip("0123456789").replace("_", " ").replace("-", " ").lower().split())
