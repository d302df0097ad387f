"""Compares expressions by Math-Verify. Its source runs in the sandbox, and imports nothing of this project.

`PATHS` is set before it: where Math-Verify is installed. Each line of stdin is `[number, [kind, answer, gold]]`, each line of
stdout `[number, [word, final]]`. Time limits are the caller's: Math-Verify's own need the main thread's signals, and miss what
runs in C.
"""

# ruff: noqa: E402 - the paths come first

import json
import re
import sys
from typing import Any

sys.path[:0] = globals().get("PATHS", [])
sys.setrecursionlimit(2000)

import logging

logging.disable(logging.CRITICAL)

from math_verify import (  # type: ignore[import-untyped]
    ExprExtractionConfig,
    LatexExtractionConfig,
    StringExtractionConfig,
    parse,
    verify,
)

_FORMS = [LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()]
_LETTERS = [StringExtractionConfig()]
_DELIMITED = re.compile(r"\\boxed|\$|\\\(|\\\[")
_LAST = re.compile(r"####[ \t]*([^\n]+)")
_LETTER = re.compile(r"\(?([A-D])\)?\.?")
_BRACKETED = re.compile(r"\(([A-D])\)\.?")
_MEANING = re.compile(r"[0-9A-Za-z\u00b0-\uffff]")
_PLAIN_NUMBER = re.compile(r"-?[$]?\d[\d,]*(\.\d+)?%?")


def said(text: str) -> str:
    """What follows the last `####`, else the whole text."""
    found = _LAST.findall(text)
    return found[-1].strip() if found else text


def read(text: str, *, is_gold: bool, is_letter: bool) -> list[Any]:
    """The values of a text, [] where it has none. A gold without delimiters is an expression as a whole."""
    text = said(text)
    if is_letter:
        return list(parse(_BRACKETED.sub(r"\1", text), extraction_config=_LETTERS, parsing_timeout=None))
    if not _MEANING.search(text):
        return []
    if is_gold and not _DELIMITED.search(text) and not _PLAIN_NUMBER.fullmatch(text.strip()):
        text = "\\boxed{" + text.strip() + "}"
    return list(parse(text, extraction_config=_FORMS, parsing_timeout=None))


def same(gold: list[Any], answer: list[Any]) -> bool:
    return bool(verify(gold, answer, timeout_seconds=None))


def final(values: list[Any]) -> str:
    """One spelling for equal values, as far as there is a cheap one."""
    return str(values[0])[:200] if values else ""


def answered(kind: str, answer: str, gold: str) -> list[str]:
    is_letter = _LETTER.fullmatch(said(gold).strip()) is not None
    true = read(gold, is_gold=True, is_letter=is_letter)
    if not true or not same(true, true):
        return ["unverifiable", ""]
    if kind == "gold":
        return ["right", ""]
    given = read(answer, is_gold=False, is_letter=is_letter)
    if not given:
        return ["no_answer", ""]
    return ["right" if same(true, given) else "wrong", final(given)]


def main() -> None:
    out = sys.stdout
    sys.stdout = sys.stderr
    out.write('{"ready": true}\n')
    out.flush()
    for line in sys.stdin:
        number, question = json.loads(line)
        try:
            answer = answered(*question)
        except (Exception, RecursionError) as error:
            answer = ["verifier_failed", type(error).__name__]
        out.write(json.dumps([number, answer]) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
