"""Tells an answer that refuses its request from a text that only sounds like it: an e-mail, a story, an answer with a gap.

A text without a word that denies (not, no, decline, against …) is none. Of the others a linear model reads the terms of the
opening: words, their order, and where they stand. It was trained on six thousand labelled texts in ten languages, written for
this project (`training/refusals.py`).

Law: linear time; only the opening is read, since a good answer may mention refusals further on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from synth_ray.check.opening_kernel import terms_of
from synth_ray.scan import compiled_union, texts_matching

Array = np.ndarray[Any, Any]

WEIGHTS = Path(__file__).parent / "refusal_weights.npz"

_OPENING = 500
_READ = 240
_STRAIGHT = str.maketrans(
    dict.fromkeys("\u2018\u2019\u02bc", "'") | dict.fromkeys("“”„«»「」", '"') | dict.fromkeys("\u00a0\u202f", " ")
)
_HEADING = re.compile(r"\s*#{1,6} [^\n]{0,80}\n")
_SPEAKER = re.compile(r"(?:assistant|ai|bot|response|answer|model|chatgpt|claude|gemini|output)\s*:\s*", re.IGNORECASE)
_MARKUP = re.compile(r"^[\s*_#>~|-]+|[*_]{2,3}")
_ACTION = re.compile(r"\s*\*(?!\*)[^*\n]{3,120}\*\s+\S")  # of somebody who plays a role: *sighs*
_DENIALS = (
    "n't", "not ", "unable", "uncomfortable", "declin", "refus", " pass ", " pass.", "say no", "against", "violat", "breach",
    "outside", "beyond", "unethical", "inappropri", "irrespons",
    "impossib", "unsafe", "no way", "nothing", "no can", "denied", "turn down", "no access", "have no", "conflicts",
    "contraven", "prevent", "prohibit", "forbid",
    "stops me", "off limits", " no.", " no,", "scope", "rather not",
    "nicht", "kein", "ablehn", "lehne", "weiger", "verstö", "unmög", "außer", "unangem", "unverantw",
    " pas ", " pas.", " pas,", "interdi", "empêch", "ne me perm", "déclin", "encontre", "enfreint", "viole", "incapa",
    " no ", " niego", "prefiero", "rechaz", " contra", "infring", " viola", "incumpl", "negarme",
    " non ", "rifiut", "infrang", "não ", "prefiro", "recus",
    "不", "无", "没", "拒", "违", "超出", "ません", "かねます", "お断", "ない", "違反", "禁止", "控え",
    "niet", "geen", " nie ", "не ", "нет", "없",
)  # fmt: skip
"""What a refusal cannot do without, in ten languages. Ordinary text has it rarely at its opening, so it also saves time."""

_SYMBOLS = re.compile(r"^(?:[^\w\s\"'—<{\[(`¡¿]|\s)+")


def refusal_pattern(more: list[str]) -> re.Pattern[str] | None:
    """The job's own beginnings of refusals as one pattern, or None."""
    return re.compile("|".join(f"(?:{pattern})" for pattern in more), re.IGNORECASE) if more else None


def refusals(texts: Sequence[str], more: re.Pattern[str] | None = None) -> list[bool]:
    """Whether each text opens with a refusal of what was asked. `more` are beginnings that refuse in any case."""
    refused = [more is not None and more.match(opening_of(text)) is not None for text in texts]
    for place in texts_matching(_denials(), [_lowered(text) for text in texts]):
        refused[place] = refused[place] or _reads_as_refusal(texts[place])
    return refused


def is_refusal(text: str, more: re.Pattern[str] | None = None) -> bool:
    """As `refusals`, of one text."""
    return refusals([text], more)[0]


def _reads_as_refusal(text: str) -> bool:
    if _ACTION.match(text[:_READ]) is not None:
        return False
    terms = terms_in(opening_of(text))
    weights, bias = _model()
    return bool(weights[terms].sum() / np.sqrt(len(terms)) > bias)


def _lowered(text: str) -> bytes:
    """Where a denial is looked for: no denial goes over a line break, with which texts are joined."""
    return f" {text[:_OPENING]} ".replace("\u2019", "'").lower().encode("utf-8", "surrogatepass")


@cache
def _denials() -> Any:
    return compiled_union((re.escape(denial.encode()) for denial in _DENIALS), ignores_case=False)


def opening_of(text: str) -> str:
    """The beginning of the text without headings, markup, symbols and a label of the assistant; quotes are straight."""
    text = text[: _OPENING * 2].translate(_STRAIGHT)
    text = _HEADING.sub("", text, count=1) if _HEADING.match(text) else text
    text = _SYMBOLS.sub("", _MARKUP.sub("", text[:_OPENING]))
    text = _SPEAKER.sub("", text, count=1) if _SPEAKER.match(text) else text
    return text.strip()


def terms_in(opening: str) -> Array:
    """The hashed terms that the model weighs."""
    terms: Array = terms_of(np.frombuffer(opening[:_READ].casefold().encode("utf-8", "replace"), np.uint8))
    return terms


@cache
def _model() -> tuple[Array, float]:
    """The weight of each term, and the sum from which a text is a refusal."""
    with np.load(WEIGHTS) as file:
        return file["weights"].astype(np.float32) * np.float32(file["scale"]), float(file["bias"])
