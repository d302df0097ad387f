"""Tells an answer that refuses its request from a text that only sounds like it: an e-mail, a story, an answer with a gap.

Law: linear time; only the opening is searched, since a good answer may mention refusals further on.
"""

# ruff: noqa: RUF001 - the characters are meant

from __future__ import annotations

import re
from collections.abc import Iterator

from synth_ray.check.refusal_cues import Cues
from synth_ray.check.refusal_english import ENGLISH
from synth_ray.check.refusal_european import FRENCH, GERMAN, ITALIAN, PORTUGUESE, SPANISH
from synth_ray.check.refusal_further import CHINESE, JAPANESE, SEVERAL

_LANGUAGES = (ENGLISH, GERMAN, FRENCH, SPANISH, ITALIAN, PORTUGUESE, CHINESE, JAPANESE, SEVERAL)
_OPENING = 500
_SENTENCES = 3
_STRAIGHT = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'", "\u00a0": " ", "\u202f": " "})
_HEADING = re.compile(r"\s*#{1,6} [^\n]{0,80}\n")
_SPEAKER = re.compile(r"(?:assistant|ai|bot|response|answer|model|chatgpt|claude|gemini|output)\s*:\s*", re.IGNORECASE)
_OTHER_SPEAKER = re.compile(r"[^\W\d_][\w .]{0,20}:\s*[^\W\d_]")
_MARKUP = re.compile(r"^[\s*_#>~|-]+|[*_]{1,3}")
_SYMBOLS = re.compile(r"^(?:[^\w\s\"'“„«»‘「『—<{\[(`¡¿]|\s)+")
_ACTION = re.compile(r"\s*\*(?!\*)[^*\n]{3,120}\*\s+\S")
_QUOTES = {'"': '"', "'": "'", "“": "”", "„": "“”", "«": "»", "»": "«", "‘": "’'", "「": "」", "『": "』", "—": "", "–": ""}
_QUOTED = re.compile(r'"[^"\n]{0,300}"|“[^”\n]{0,300}”|«[^»\n]{0,300}»|„[^“”\n]{0,300}[“”]|「[^」\n]{0,300}」')
_LETTER = re.compile(
    r"^\s*(?:subject:|dear |hi [A-Z]|hello [A-Z]|hey [A-Z]|sehr geehrte|liebe[r]? |bonjour [A-Z]|ch(?:er|ère) |"
    r"estimad|querid|"
    r"gentile |car[oa] |prezad)[^\n]{0,60}\n|\n\s*(?:best|kind regards|best regards|warm regards|regards|sincerely|"
    r"yours|cheers|love|"
    r"mit freundlichen|viele grüße|liebe grüße|bises|cordialement|un saludo|saludos|cordiali saluti|"
    r"atenciosamente)\b[^\n]{0,30}\n",
    re.IGNORECASE,
)
_TOLD = re.compile(
    r"[,.!?;]['\"]?\s+(?:the |an? )?(?:[\w']+ ){0,4}?(?:said|says|asked|replied|answered|thought|whispered|muttered|"
    r"sighed|shouted|"
    r"cried|murmured|explained|used to \w+|sagte|rief|fragte|flüsterte|nahm sie|nahm er|dit|murmura|dijo|susurró|"
    r"disse|sussurrò)\b"
)
_SENTENCE = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])|\n+")
_CLAUSE = re.compile(
    r"(?:[,;]|[.–—]| -)\s*|that (?=i\b)|(?:(?:but|however|so|and|yet|though|unfortunately|therefore|aber|mais|donc|"
    r"pero|così|ma|mas|porém|maar|но|ale|但是|但|不过|所以|が|ので)\b,?|、|，)\s*"
)
_LINK = re.compile(
    r"(?:(?:but|however|so|and|yet|though|unfortunately|therefore|thus|because|which is why|i'm afraid(?: that)?|"
    r"i am afraid(?: that)?|sorry|"
    r"i(?:'m| am) (?:\w+ )?sorry|instead|at this time|currently|that said|to be clear|aber|ich fürchte|je crains que|"
    r"me temo que|temo che|receio que|leider|daher|und|mais|malheureusement|donc|et|pero|y|"
    r"lamentablemente|ma|e|purtroppo|mas|infelizmente|maar|helaas|но|ale|抱歉|对不起|所以|但是|但|不过|因此|"
    r"而且)(?:\b|(?<=[\u4e00-\u9fff])),?\s*|no,\s*)+"
)
_BUT = re.compile(r"[,;.]\s*(?:but|aber|mais|pero|ma|mas)\s+")
_ASIDE = re.compile(r"[:;]\s")
_OFFER = re.compile(
    r"i(?:'d| would|'m (?:\w+ )?(?:happy|glad|here)| am (?:\w+ )?(?:happy|glad|here)| can (?:\w+ )?(?:help|assist|"
    r"point|provide|discuss|suggest|explain|"
    r"share|talk|direct|try))|you\b|if\b|please|let|there are|feel|perhaps|maybe|happy|gern|ich|sie können|"
    r"vous pouvez|je peux|je serais|puedo|"
    r"si |estaré|posso|se |eu posso"
)
"""What may follow `but` in a refusal: the offer of something else. Other words there give an answer."""


def refusal_pattern(more: list[str]) -> re.Pattern[str] | None:
    """The job's own beginnings of refusals as one pattern, or None."""
    return re.compile("|".join(f"(?:{pattern})" for pattern in more), re.IGNORECASE) if more else None


def is_refusal(text: str, more: re.Pattern[str] | None = None) -> bool:
    """Whether the text opens with a refusal of what was asked. `more` are beginnings that refuse in any case."""
    opening = _opening(text)
    if more is not None and more.match(opening):
        return True
    lowered = _QUOTED.sub(" ", opening).lower()
    cues = [cues for cues in _LANGUAGES if any(hint in lowered for hint in cues.hint)]
    if not cues or _is_told(text, opening, lowered):
        return False
    return any(_refuses(lowered, of_language) for of_language in cues)


def _is_told(text: str, opening: str, lowered: str) -> bool:
    """Whether somebody other than the assistant speaks: in a letter, a story, a play or in code."""
    is_letter = _LETTER.search(text[:_OPENING] + text[-200:]) is not None
    return is_letter or _is_spoken(opening) or _ACTION.match(text[:200]) is not None or _TOLD.search(lowered) is not None


def _opening(text: str) -> str:
    """The beginning of the text without headings, markup, symbols and a label of the assistant."""
    text = text[: _OPENING * 2].translate(_STRAIGHT)
    text = _HEADING.sub("", text, count=1) if _HEADING.match(text) else text
    text = _SYMBOLS.sub("", _MARKUP.sub("", text[:_OPENING]))
    text = _SPEAKER.sub("", text, count=1) if _SPEAKER.match(text) else text
    return _unquoted(text.strip())


def _unquoted(text: str) -> str:
    """The text without quotation marks, if they enclose all of it."""
    closing = _QUOTES.get(text[:1], "")
    inner = text[1:-1]
    return (
        inner.strip() if closing and text[-1] in closing and not any(mark in inner for mark in closing if mark != "'") else text
    )


def _is_spoken(opening: str) -> bool:
    """Whether the text begins with somebody's speech (a quotation, a line of a play) or with code."""
    return opening[0] in _QUOTES or opening[0] in "<{[`" or _OTHER_SPEAKER.match(opening) is not None


def _refuses(opening: str, cues: Cues) -> bool:
    for number, sentence in enumerate(s for s in _SENTENCE.split(opening) if s.strip()):
        if number >= _SENTENCES:
            return False
        if any(_declines(clause, cues) for clause in _clauses(sentence.strip(), cues)) and not cues.personal.search(opening):
            return True
        if not cues.preface.match(sentence) and number > 0:
            return False
    return False


def _clauses(sentence: str, cues: Cues) -> Iterator[str]:
    """The sentence from each place where a refusal may begin: its start, and after its first clauses."""
    yield _LINK.sub("", sentence, count=1) if _LINK.match(sentence) else sentence
    yield sentence
    for place in _CLAUSE.finditer(sentence):
        rest = sentence[place.end() :]
        yield _LINK.sub("", rest, count=1) if _LINK.match(rest) else rest


def _declines(clause: str, cues: Cues) -> bool:
    if cues.outright.match(clause):
        return True
    cannot = cues.cannot.match(clause)
    if cannot is None:
        return False
    rest, *after = _BUT.split(clause[cannot.end() :], maxsplit=1)
    rest = _ASIDE.split(rest, maxsplit=1)[0]
    verb = cues.verb.search(rest[:80])
    if verb is None:
        return False
    wanted = rest[verb.end() :] if cues.verb.match(rest) else clause
    is_answered = bool(after) and not _OFFER.match(after[0])
    if cues.request.search(wanted) and not (is_answered and cues.service.search(rest[:80]) is None):
        return True
    return not is_answered and (cues.product.search(wanted) or cues.service.search(rest[:80])) is not None
