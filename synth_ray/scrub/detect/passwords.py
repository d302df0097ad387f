"""Passwords and keys that only their context gives away: in prose, settings, HTTP headers and URLs."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from synth_ray.scrub.findings import Finding
from synth_ray.scrub.text_view import TextView, seconds_left

_PASS = r"pass(?:word|wd|phrase|code|wort)|pwd|contraseña|kennwort|mot\sde\spasse"
GATE = r"passw|passwd|passphrase|passcode|pwd|contrase|kennwort|mot de passe|\bpin\b|_pass\b|\bpass[ =:]"
HEADER_GATE = r"\bbearer\s|authorization|x-api-key|\bbasic\s"
KEY_GATE = r"key|token|secret|credential"
URL_GATE = r"://[^/\s@]*:[^\s@]+@"

_SEPARATOR = r"[\"'`*]{0,2}\s{0,3}(?:=>|:=|==?|:|\s-)\s{0,3}"
_VALUE = r"(?:(?P<quote>[\"'`])(?P<quoted>[^\"'`\n]{3,200})(?P=quote)|(?P<bare>[^\s\"'`<>,;(){}\[\]|][^\s\"'`<>,;|)}\]]{2,200}))"
_ASSIGNED = re.compile(rf"(?i)(?:{_PASS}|(?<![a-z])pass)(?:[_.\-]?[a-z0-9]{{1,12}})?{_SEPARATOR}{_VALUE}")
_SPOKEN = re.compile(
    rf"(?i)\b(?:{_PASS}|pin(?:\scode)?)\s(?:(?:for|to|of|on)\s(?:[\w.'@/-]{{1,30}}\s){{1,4}})?"
    rf"(?:is|was|ist|es|to|=)\s(?:(?:now|still|set\sto|currently|always|just|simply|going\sto\sbe)\s)?{_VALUE}"
)
_PIN = re.compile(r"(?i)\bpin(?:\s?(?:code|number))?\s?(?:is|was|:|=)\s{0,2}(?P<bare>[0-9]{4,8})\b(?![.,][0-9])")
_HEADER = re.compile(
    r"(?i)(?:\b(?:bearer|basic|token)\s+|\b(?:proxy-)?authorization[\"']?\s*[:=]\s*[\"']?(?:[a-z-]{2,12}\s+)?|\bx-[a-z-]{0,20}(?:key|token)"
    r"[\"']?\s*[:=]\s*[\"']?)(?P<bare>[A-Za-z0-9._~+/=\-]{12,2000})"
)
_KEYED = re.compile(
    r"(?i)(?P<name>(?:key|token|secret|credential|passkey)s?(?:[_.\-]?(?:id|hash|value|base|b64|v[0-9]))?)"
    rf"(?:{_SEPARATOR}|\s(?:is|was)\s(?:now\s)?)[\"'`]?(?P<bare>[A-Za-z0-9+/_=~.\-]{{12,400}})"
)
_LEAD = re.compile(r"(?:\b[A-Za-z0-9]{1,20} )?[A-Za-z0-9_.\-]{0,40}$")
_URL = re.compile(r"(?i)\b[a-z][a-z0-9+.\-]{1,20}://[^\s:/@\"'<>]{0,100}:(?P<bare>[^\s@\"'<>]{1,200}?)@(?=[A-Za-z0-9\[])")


def passwords(view: TextView, deadline: float) -> Iterator[Finding]:
    text = view.text
    seconds_left(deadline)
    for m in _PIN.finditer(text):
        yield Finding("SECRET", *m.span("bare"), 0.7)
    for m in _ASSIGNED.finditer(text):
        yield from _password(text, m, prose=False)
    seconds_left(deadline)
    for m in _SPOKEN.finditer(text):
        yield from _password(text, m, prose=True)


def _password(text: str, m: re.Match[str], *, prose: bool) -> Iterator[Finding]:
    quoted = m["quoted"] is not None
    start, end = m.span("quoted" if quoted else "bare")
    if not quoted:
        end = start + len(text[start:end].rstrip(".,;:*"))
    value = text[start:end]
    if (_looks_like_password(value, prose=prose) or (quoted and _quotable(value))) and not _is_placeholder(value):
        yield Finding("SECRET", start, end, 0.8)


_WORDS = re.compile(r"[A-Za-z]+(?:[_.\-][A-Za-z]+)*")
_CODE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)+$|.*[(\[{].*[)\]}]?$|[a-z]{2,}(?:[A-Z][a-z]{2,})+$")


def _looks_like_password(value: str, *, prose: bool) -> bool:
    """Whether it looks like a chosen password: it mixes kinds of characters, and is not a plain word, a short number or code."""
    if len(value) < 5 or (_CODE.match(value) and not (prose and value.isalpha())):
        return False
    kinds = sum(bool(re.search(kind, value)) for kind in ("[a-z]", "[A-Z]", "[0-9]", r"[^A-Za-z0-9\s]"))
    if _WORDS.fullmatch(value):
        return kinds >= 2 and not value.istitle() and not value.isupper() and bool(re.search(r"[a-z][A-Z]", value))
    return kinds >= 2 or (value.isdigit() and len(value) >= 6)


def _quotable(value: str) -> bool:
    return len(value) >= 5 and " " not in value and not _CODE.match(value)


_NO_SECRET = re.compile(
    "(?i)(?:(?:your|my|new|hashed)?[_-]?pass(?:word|wort|wd)(?:_hash)?|secret|changeme|example|placeholder|none|null|true|false|"
    "undefined|required|optional|string|str|text|hidden|redacted|removed|masked|incorrect|invalid|wrong|correct)"
)
_PLACEHOLDER = re.compile(
    r"<.*|\$[{(].*|\$[A-Z_][A-Z0-9_]*$|\{.*|\[.*|%\(.*|%[a-z]$|%[A-Za-z_]+%$|\*.*|\.{3,}|[xX*•.#_-]{3,}$|.*\$\{.*|.*\{\{.*|.*%\(.*|"
    r"(?i:your|my|the|enter|insert|some|new)[_\-\s].*|(?i:env|process|os|config|settings|self|args|secrets)[.\[].*"
)


def _is_placeholder(value: str) -> bool:
    return bool(_NO_SECRET.fullmatch(value)) or bool(_PLACEHOLDER.match(value)) or len(set(value)) < 3


def headers(view: TextView, deadline: float) -> Iterator[Finding]:
    seconds_left(deadline)
    for m in _HEADER.finditer(view.text):
        value = m["bare"].rstrip(".")
        if random_like(value, bits=2.7) and not _is_placeholder(value):
            yield Finding("SECRET", m.start("bare"), m.start("bare") + len(value), 0.9)


def keyed(view: TextView, deadline: float) -> Iterator[Finding]:
    """Random-looking values beside a name such as `api_key`."""
    seconds_left(deadline)
    for m in _KEYED.finditer(view.text):
        value = m["bare"].rstrip(".")
        before = view.text[max(0, m.start() - 40) : m.start()]
        name = _LEAD.search(before)[0] + m["name"]  # type: ignore[index]
        is_named = bool(_NAMES.search(name))
        if len(value) < (12 if is_named else 20) or not random_like(value, bits=2.9 if is_named else 3.4):
            continue
        if not _NO_NAMES.search(name) and not _is_placeholder(value):
            yield Finding("SECRET", m.start("bare"), m.start("bare") + len(value), 0.8)


_NAMES = re.compile(
    r"(?i)api|access|auth|client|private|secret|sign|encrypt|service|session|bot|app|account|token|credential|aws|master|refresh|bearer|jwt|webhook"
)
_NO_NAMES = re.compile(
    r"(?i)public|primary|foreign|cache|partition|sort|hot|mon|tokens$|max_|num_|n_|eos|bos|pad|unk|keyword|publishable|idempotency|host_?key$"
)


_PLAIN = re.compile(
    r"[\w.-]+\.(?:py|js|ts|json|ya?ml|txt|md|html?|png|jpe?g|com|org|net|io)$|v?[0-9]+(?:\.[0-9]+)+|/(?:[a-z0-9_.-]{1,24}/|.{0,29}$)|.*/.*/.*\.|"
    r"[0-9]+(?:[a-z]{1,4})?$"
)
"""File names, versions, paths, plain numbers."""
_PIECES = re.compile(r"[_.\-/=+]")


def random_like(value: str, *, bits: float) -> bool:
    """Whether it has letters and digits, is no path, date or slug of words, and has at least `bits` of entropy per character."""
    if not any("0" <= c <= "9" for c in value) or not any(c.isalpha() for c in value) or _PLAIN.match(value):
        return False
    words = [w for w in _PIECES.split(value) if w]
    if len(words) > 1 and max(map(len, words)) < 16 and sum(w.isalpha() and w.islower() for w in words) >= len(words) - 1:
        return False
    return entropy(value) >= bits


def entropy(value: str) -> float:
    """Shannon entropy of the value's own characters, in bits per character."""
    n = len(value)
    return -sum(c / n * math.log2(c / n) for c in Counter(value).values())


def url_passwords(view: TextView, deadline: float) -> Iterator[Finding]:
    seconds_left(deadline)
    for m in _URL.finditer(view.text):
        if not _is_placeholder(m["bare"]) or m["bare"].lower() in ("password", "secret", "changeme"):
            yield Finding("SECRET", *m.span("bare"), 0.9)
