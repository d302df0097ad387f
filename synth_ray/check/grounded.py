"""Is an answer supported by its passage? Decided by words, numbers, names and negations, against the passage's sentences.

After the lexical support measures of grounded generation (K-Precision, Adlakha et al., 2023, arXiv 2307.16877), made stricter: a
number or name that is not in the passage, or a negated sentence, is unsupported whatever else matches. It cannot detect two facts
of the passage wrongly combined, nor a wrong inference in the passage's own words.
"""

from __future__ import annotations

import re
from fractions import Fraction

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?", re.UNICODE)
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_TOKEN = re.compile(r"[^\W_]+", re.UNICODE)
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_CLAUSE = re.compile(r"[,;:]\s+|\s+(?:but|although|while|because)\s+", re.IGNORECASE)
_REPLY = re.compile(r"^(?:no|yes)\b[,.:;]?\s*", re.IGNORECASE)
_STOP = frozenset(
    _TOKEN.findall("""
    a an the of to in on at by for from with and or but as is are was were be been being it its this that these those there he
    she they them his her their we you i our your my so than then which who whom whose what when where how why do does did done
    has have had will would can could shall should may might also about into over per each any some all both very just only such
    yes go goes went gone come comes came get gets got take takes took make makes made give gives gave""")
)
_NOT = frozenset({"not", "no", "never", "none", "nor", "without", "cannot", "neither", "nobody", "nothing"})
_UNITS = _TOKEN.findall(
    """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
    nineteen"""
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_NUMERALS = {word: str(n) for n, word in enumerate(_UNITS)} | {word: str(10 * n) for n, word in enumerate(_TENS, 2)}


def unsupported(answer: str, passage: str, *, question: str = "", quote: str = "", min_support: float = 0.8) -> str:
    """What makes the answer unsupported ('quote', 'number', 'name', 'words', 'negation'), or '' if nothing does.

    With a quote, the answer must be supported by the quote, and the quote must be in the passage. Words of the question need no
    support. `min_support` is the share of a sentence's content words that must be supported.
    """
    if quote and _flat(quote) not in _flat(passage):
        return "quote"
    witness = quote or passage
    known_text = f"{witness}\n{question}"
    if not _numbers(answer) <= _numbers(known_text):
        return "number"
    known = set(map(_stem, _words(known_text)))
    sentences = [s.strip() for s in _SENTENCE.split(answer) if s.strip()]
    return next(filter(None, (_sentence_unsupported(s, witness, known, min_support) for s in sentences)), "")


def _sentence_unsupported(sentence: str, witness: str, known: set[str], min_support: float) -> str:
    if any(_stem(name) not in known for name in _names(sentence)):
        return "name"
    stems = [_stem(word) for word in _content(sentence)]
    if stems and sum(word in known for word in stems) < min_support * len(stems):
        return "words"
    return "negation" if _is_negated(sentence, witness) else ""


def _is_negated(sentence: str, witness: str) -> bool:
    """Whether a clause denies what the most similar clause of the witness affirms, or the reverse."""
    clauses = [clause_ for part in _SENTENCE.split(witness) for clause_ in _CLAUSE.split(part) if clause_.strip()]
    for clause in _CLAUSE.split(_REPLY.sub("", sentence)):
        stems = [_stem(word) for word in _content(clause)]
        nearest = max(clauses, key=lambda clause_: _overlap(stems, clause_), default="")
        if stems and _overlap(stems, nearest) > 0 and _negated(clause) != _negated(nearest):
            return True
    return False


def _overlap(stems: list[str], clause: str) -> float:
    clause_stems = {_stem(word) for word in _content(clause)}
    return sum(word in clause_stems for word in stems) - len(clause_stems) / 1000


def _negated(text: str) -> bool:
    """Whether the text is negative: two negations cancel each other."""
    words = _words(text)
    return sum(word in _NOT or word.endswith(("n't", "n’t")) for word in words) % 2 == 1


def _names(sentence: str) -> list[str]:
    """Capitalised words, without the first, which any sentence capitalises."""
    words = [m[0] for m in _WORD.finditer(sentence)]
    return [w.casefold() for w in words[1:] if w[0].isupper() and w.casefold() not in _STOP and len(w) > 1]


def _content(text: str) -> list[str]:
    return [w for w in _words(text) if w not in _STOP and w not in _NOT and w not in _NUMERALS and not w.endswith(("n't", "n’t"))]


def _words(text: str) -> list[str]:
    return [m[0].casefold() for m in _WORD.finditer(text)]


def _numbers(text: str) -> set[Fraction]:
    digits = {Fraction(m[0].replace(",", "")) for m in _NUMBER.finditer(text)}
    return digits | {Fraction(_NUMERALS[word]) for word in _words(text) if word in _NUMERALS and word != "one"}


def _stem(word: str) -> str:
    """A crude stem, the same for 'delivers', 'delivered' and 'delivery': the first five letters, or a short word without its
    plural s.
    """
    word = re.sub(r"['’]s$", "", word)
    return word[:5] if len(word) > 5 else word.removesuffix("s") if len(word) > 3 else word


def _flat(text: str) -> str:
    """The text as words and numbers in order, ignoring spacing, case and punctuation."""
    return f" {' '.join(_TOKEN.findall(text.casefold()))} "
