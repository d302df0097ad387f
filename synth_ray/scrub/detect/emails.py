"""Obfuscated and internal addresses: `jane [at] mail [dot] com`, `jane @ mail.com`, `jane%40mail.com`, `jane@mail.local`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from synth_ray.scrub.findings import Finding
from synth_ray.scrub.text_view import TextView, seconds_left

_PRIVATE = "local|localdomain|internal|intranet|intra|corp|lan|home|private|test|example|invalid"
GATE = (
    r"[\[({<]\s?at\s?[\])}>]|[a-z0-9_] ?@ [a-z0-9]|[a-z0-9_] @[a-z0-9]|[a-z0-9]%40[a-z0-9]|\bdot [a-z]|_at_[a-z0-9]|"
    rf"@[a-z0-9.-]+\.(?:{_PRIVATE})\b"
)
_LOCAL = r"(?<![\w.+%-])[A-Za-z0-9][A-Za-z0-9._%+\-]{0,63}"
_DOT = r"(?:\s?[\[({<]\s?(?i:dot|punkt|\.)\s?[\])}>]\s?|\s(?i:dot)\s|\.)"
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?"
_BRACKETED = re.compile(rf"{_LOCAL}\s?[\[({{<]\s?(?i:at)\s?[\])}}>]\s?{_NAME}(?:{_DOT}{_NAME})+(?![\w-])")
_SPACED = re.compile(rf"{_LOCAL}(?: @ ?| ?@ ){_NAME}(?:\.{_NAME})+(?![\w-])")
_ENCODED = re.compile(rf"{_LOCAL}%40{_NAME}(?:\.{_NAME})+(?![\w-])")
_INTERNAL = re.compile(rf"{_LOCAL}@(?:{_NAME}\.)+(?i:{_PRIVATE})(?![\w-])")
_SPOKEN = re.compile(
    rf"{_LOCAL}(?: (?i:dot) [A-Za-z0-9]{{1,30}}){{0,3}}(?: (?i:at) |_(?i:at)_){_NAME}"
    rf"(?:(?: (?i:dot) |_(?i:dot)_){_NAME})+(?![\w-])"
)
_LEADING = re.compile("(?i)(?:look|looking|arrive|stay|meet|is|are|was|me|back|be)")


def finder(is_domain: Callable[[str], bool]) -> Callable[[TextView, float], Iterator[Finding]]:
    """`is_domain` tells whether the domain of `x@domain` is registered under a public suffix."""

    def find(view: TextView, deadline: float) -> Iterator[Finding]:
        text = view.text
        seconds_left(deadline)
        for pattern in (_BRACKETED, _SPACED, _ENCODED):
            for m in pattern.finditer(text):
                if is_domain(as_typed(m[0])):
                    yield Finding("EMAIL_ADDRESS", *m.span(), 0.9)
        for m in _INTERNAL.finditer(text):
            yield Finding("EMAIL_ADDRESS", *m.span(), 0.8)
        for m in _SPOKEN.finditer(text):
            if not _LEADING.fullmatch(m[0].split()[0]) and is_domain(as_typed(m[0])):
                yield Finding("EMAIL_ADDRESS", *m.span(), 0.8)

    return find


def as_typed(written: str) -> str:
    """The address in its plain form: `jane [at] mail [dot] com` becomes `jane@mail.com`."""
    text = re.sub(r"\s?[\[({<]\s?(?:at)\s?[\])}>]\s?|\s@\s?|@\s|\sat\s|_at_|%40", "@", written, flags=re.IGNORECASE)
    return re.sub(r"\s?[\[({<]\s?(?:dot|punkt|\.)\s?[\])}>]\s?|\sdot\s|_dot_", ".", text, flags=re.IGNORECASE)


_SERVICES = frozenset({"git", "hg", "svn"})


def is_personal_address(text: str, finding: Finding) -> bool:
    """Whether a stock finding is a person's address, and not git@host:path or the password and host of a URL."""
    value = text[finding.start : finding.end]
    if value.partition("@")[0].lower() in _SERVICES and text[finding.end : finding.end + 1] in (":", "/"):
        return False
    if finding.start and text[finding.start - 1] == ":":
        before = text[max(0, finding.start - 120) : finding.start]
        return "://" not in before.rsplit(None, 1)[-1]
    return True
