"""E-mail addresses, from where they begin to where they end: in paths, settings and queries, and as `jane [at] mail [dot] com`,
`jane @ mail.com`, `jane%40mail.com` or `jane@mail.local`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache

from synth_ray.scrub.findings import Finding
from synth_ray.scrub.text_view import TextView, seconds_left

IsDomain = Callable[[str], bool]
Find = Callable[[TextView, float], Iterator[Finding]]

_PRIVATE = "local|localdomain|internal|intranet|intra|corp|lan|home|private|test|example|invalid"
_SIGN = r"(?:%40|\\u0040|&#64;|&#x40;|&commat;)"
GATE = r"[^ ]@[a-z0-9\x80-\xff_]"
WRITTEN_GATE = (
    r"[\[({<]\s?at\s?[\])}>]|[a-z0-9_] ?@ [a-z0-9]|[a-z0-9_] @[a-z0-9]|"
    rf"[a-z0-9]{_SIGN}[a-z0-9]|\bdot [a-z]|_at_[a-z0-9]"
)
_LOCAL = r"(?<![\w.+%-])(?P<local>[A-Za-z0-9][A-Za-z0-9._%+\-]{0,63})"
_DOT = r"(?:\s?[\[({<]\s?(?i:dot|punkt|\.)\s?[\])}>]\s?|\s(?i:dot)\s|\.)"
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?"
_BRACKETED = re.compile(rf"{_LOCAL}\s?[\[({{<]\s?(?i:at)\s?[\])}}>]\s?{_NAME}(?:{_DOT}{_NAME})+(?![\w-])")
_SPACED = re.compile(rf"{_LOCAL}(?: @ ?| ?@ ){_NAME}(?:\.{_NAME})+(?![\w-])")
_ENCODED = re.compile(rf"{_LOCAL}{_SIGN}{_NAME}(?:\.{_NAME})+(?![\w-])")
_SPOKEN = re.compile(
    rf"{_LOCAL}(?: (?i:dot) [A-Za-z0-9]{{1,30}}){{0,3}}(?: (?i:at) |_(?i:at)_){_NAME}"
    rf"(?:(?: (?i:dot) |_(?i:dot)_){_NAME})+(?![\w-])"
)
_LEADING = re.compile("(?i)(?:look|looking|arrive|stay|meet|is|are|was|me|back|be)")
_AT = re.compile(r"(?<=[\w'#+\-])@(?=\w)")
_BEFORE_AT = re.compile(r"[\w.+\-%'#=]{1,128}$")
_DOMAIN = re.compile(r"\w[\w-]{0,62}(?:\.\w[\w-]{0,62}){1,9}")
_PRIVATE_END = re.compile(rf"(?i)\.(?:{_PRIVATE})$")
_SHORTER = re.compile(r"(.*)(?:[.\-_]|(?<=[a-z])(?=[A-Z0-9])).*")
"""A domain without its last piece, which begins after a sign or where a word follows without a space, as in `mail.comPlease`."""
_ESCAPED = re.compile(r".*(?:=|%(?!2[bdeBDE5]|5[fF])[0-9A-Fa-f]{2}|(?<![A-Za-z])'|'(?![A-Za-z])|(?<!\w)#)", re.DOTALL)
"""What stands before an address in a query or a setting, up to the last sign that no address contains, such as = or %26."""
_RETURN_PATH = re.compile(r"\w[\w.\-]*[+\-][\w.+\-]*=$")


def finders(is_domain: IsDomain) -> tuple[Find, Find]:
    """The find functions of plain addresses and of addresses written in another way. `is_domain` tells whether the domain of
    `x@domain` is registered under a public suffix.
    """
    is_known = lru_cache(maxsize=4096)(lambda domain: bool(_PRIVATE_END.search(domain)) or is_domain(f"x@{domain}"))

    def find(view: TextView, deadline: float) -> Iterator[Finding]:
        seconds_left(deadline)
        for m in _AT.finditer(view.text):
            found = _address(view.text, m.start(), is_known)
            if found and is_personal_address(view.text, found):
                yield found

    def find_written(view: TextView, deadline: float) -> Iterator[Finding]:
        seconds_left(deadline)
        for pattern in (_BRACKETED, _SPACED, _ENCODED):
            for m in pattern.finditer(view.text):
                if is_domain(as_typed(m[0])):
                    yield Finding("EMAIL_ADDRESS", m.start() + _local_begin(m["local"]), m.end(), 0.9)
        for m in _SPOKEN.finditer(view.text):
            if not _LEADING.fullmatch(m[0].split()[0]) and is_domain(as_typed(m[0])):
                yield Finding("EMAIL_ADDRESS", *m.span(), 0.8)

    return find, find_written


def _address(text: str, at: int, is_known: Callable[[str], bool]) -> Finding | None:
    """The address around an @ sign, if its domain, or the longest part of it that can be one, is known."""
    domain_match = _DOMAIN.match(text, at + 1)
    before = _BEFORE_AT.search(text, max(0, at - 128), at)
    if not domain_match or not before:
        return None
    domain = _known_part(domain_match[0].rstrip("-_"), is_known)
    end = at + 1 + len(domain)
    start = before.start() + _begin(before[0], is_known)
    if text[end : end + 1] == "'":
        start = max(
            start, text.rfind("'", start, at) + 1
        )  # the quote that ends behind it began before it, as in f'jane@mail.com'
    return Finding("EMAIL_ADDRESS", start, end, 1.0) if domain and start < at else None


def _known_part(domain: str, is_known: Callable[[str], bool]) -> str:
    last = domain.rpartition(".")[2]
    if last.istitle() and domain[: -len(last)].islower() and is_known(domain[: -len(last) - 1]):
        return domain[: -len(last) - 1]  # the next sentence: jane@mail.com.My phone is
    for _ in range(8):
        if "." not in domain:
            return ""
        if is_known(domain):
            return domain
        shorter = _SHORTER.fullmatch(domain)
        domain = shorter[1] if shorter else ""
    return ""


def _begin(local: str, is_known: Callable[[str], bool]) -> int:
    """The offset at which the part before the @ begins. Return paths keep what they contain: bounce-jane=mail.com@list.org."""
    begin = _local_begin(local)
    m = _RETURN_PATH.search(local[:begin])
    if m and is_known(local[begin:]):
        begin = m.start()
    return begin


def _local_begin(local: str) -> int:
    m = _ESCAPED.match(local)
    begin = m.end() if m else 0
    while begin < len(local) and local[begin] in ".+-%'#":
        begin += 1
    return begin


def as_typed(written: str) -> str:
    """The address in its plain form: `jane [at] mail [dot] com` becomes `jane@mail.com`."""
    text = re.sub(rf"\s?[\[({{<]\s?(?:at)\s?[\])}}>]\s?|\s@\s?|@\s|\sat\s|_at_|{_SIGN}", "@", written, flags=re.IGNORECASE)
    return re.sub(r"\s?[\[({<]\s?(?:dot|punkt|\.)\s?[\])}>]\s?|\sdot\s|_dot_", ".", text, flags=re.IGNORECASE)


_SERVICES = frozenset({"git", "hg", "svn"})


def is_personal_address(text: str, finding: Finding) -> bool:
    """Whether it is a person's address, and not git@host:path or the password and host of a URL."""
    value = text[finding.start : finding.end]
    if value.partition("@")[0].lower() in _SERVICES and text[finding.end : finding.end + 1] in (":", "/"):
        return False
    if finding.start and text[finding.start - 1] == ":":
        before = text[max(0, finding.start - 120) : finding.start]
        return "://" not in before.rsplit(None, 1)[-1]
    return True


def is_no_mail_domain(text: str, finding: Finding) -> bool:
    """Whether a stock URL finding is not the domain of an address and what follows it, as in `jane@mail.com/edit`."""
    return text[max(0, finding.start - 1) : finding.start] != "@"
