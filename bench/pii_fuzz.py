"""Mangled texts for the comparison with stock Presidio: planted values and unusual characters, joined and edited at random."""

from __future__ import annotations

import random
from collections.abc import Sequence

from bench.pii_corpus import Sample

# fmt: off
WORST = (
    "a.", "1.", ".....", "www.", ":", "(", "%", "1/2/", "12-", "1234 ", "a@", "a@a-", "DE89 1234 ", "+1", "\"a.",
    "bc1q", "0x", "password is ", "call 5", "key=key=", "-----BEGIN PRIVATE KEY-----\n", "://a:", "<EMAIL_1>",
    "at dot ", "ssn 1234", "1", "a", "the quick brown fox ", "jane@mail.com ", "(212) 867-5309 ", "٣٤", "é@é.",
    "1.2.3.4 ", "2001:db8::1 ", "pin 1234 ", "eyJ.", "((1)(1", "ab:", "QUJDREVGR0hJSktM", "a" * 60 + "@", "http://",
    "\ud800", "1.2.3 ",
)
# fmt: on
"""Texts that make a detector slow when repeated, since regexes backtrack over them."""

PIECES = [
    *"0123456789" * 3,
    *"+-() ./x#,;:@_*\"'<>[]{}=~%$\n\t",
    *"abcDEFxz",
    "\u00a0",
    "–",
    "’",
    "\u0663",
    "\uff0b",
    "\u212a",
    "\u017f",
    "é",
    "中",
]
PIECES += [
    "🙂",
    "\u200b",
    "\u2028",
    "\ud800",
    " ext ",
    "https://",
    "www.",
    ".com",
    ".de",
    "::",
    "DE89 ",
    "bc1",
    "1.2.3.4",
    "::ffff:8.8.8.8",
]
WORDS = [
    "my",
    "phone",
    "call",
    "card",
    "ssn",
    "server",
    "ip",
    "iban",
    "account",
    "date",
    "url",
    "is",
    "of:",
    "Be",
    "12:30",
    "cannot",
]


def fragments(samples: Sequence[Sample]) -> list[str]:
    """The planted values and traps of the samples."""
    return [s.text[a:b] for s in samples for a, b, _ in (*s.spans, *s.traps) if b - a < 120]


def fuzzed(draw: random.Random, planted: list[str]) -> str:
    if draw.random() < 0.5:
        text = draw.choice([" ", "\n", " - ", ", ", "/", ""]).join(
            draw.choice(planted if draw.random() < 0.6 else WORDS) for _ in range(draw.randint(2, 12))
        )
    else:
        text = "".join(draw.choices(PIECES, k=draw.randint(5, 120)))
    characters = list(text)
    for _ in range(draw.choice([0, 1, 3, 10])):
        at = draw.randrange(len(characters) + 1)
        characters[at : at + draw.choice([0, 1, 2])] = draw.choice(PIECES)
    return "".join(characters)
