"""Tells the language of an answer with py3langid: a model of 4.6 MB that is part of the package, so nothing is downloaded."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Collection
from functools import cache
from typing import Any

from synth_ray.errors import JobError, MissingResource

_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|https?://\S+|<[^<>\n]{1,200}>", re.DOTALL)
_SAMPLE_CHARACTERS = 2000
_FEWEST_LETTERS = 12
_CONFIDENT, _POSSIBLE = 0.5, 0.2
"""A text is in another language where one of these is at least as likely as the first, and those wanted less than the second."""


def _open_identifier() -> Any:
    try:
        langid = importlib.import_module("py3langid.langid")
    except ImportError:
        raise MissingResource(
            "check.language: wanted the package py3langid, got an environment without it; install synth-ray[language], or leave "
            "check.language out"
        ) from None
    return _load(langid)


@cache
def _load(langid: Any) -> Any:
    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)


def open_language_check(languages: Collection[str]) -> Callable[[str], bool]:
    """Whether a text is in none of the languages (ISO 639-1 codes). A text too short to tell is in any of them.

    Raises MissingResource without the extra `language`, JobError for a language that the model does not know.
    """
    identifier = _open_identifier()
    unknown = sorted(set(languages) - set(identifier.labels))
    if unknown:
        raise JobError(f"check.language: wanted ISO 639-1 codes such as en, de or zh, got {', '.join(unknown)}; correct them")
    wanted = frozenset(languages)

    def is_other(text: str) -> bool:
        prose = _prose(text)
        if not prose:
            return False
        ranked = identifier.rank(prose)
        share = sum(share for language, share in ranked if language in wanted)
        return bool(ranked[0][1] >= _CONFIDENT and share < _POSSIBLE)

    return is_other


def open_language_reader() -> Callable[[str], str | None]:
    """The language of a text as its ISO 639-1 code; None of one too short to tell. Raises MissingResource as above."""
    identifier = _open_identifier()

    def language(text: str) -> str | None:
        prose = _prose(text)
        return str(identifier.rank(prose)[0][0]) if prose else None

    return language


def _prose(text: str) -> str:
    """The beginning of a text without its code and addresses; empty where it is too short to tell its language."""
    prose = _CODE.sub(" ", text[: 2 * _SAMPLE_CHARACTERS])[:_SAMPLE_CHARACTERS]
    return prose if sum(map(str.isalpha, prose)) >= _FEWEST_LETTERS else ""
