"""US social security numbers that Presidio's form or its list of invalid ones excludes, beside words that say what they are."""

from __future__ import annotations

import re
from collections.abc import Iterator

from synth_ray.scrub.detect.context_words import CONTEXT, ContextWords
from synth_ray.scrub.findings import Finding
from synth_ray.scrub.text_view import TextView, seconds_left

_DIGITS = 9
GATE = r"ssn|social|soc.{1,3}sec"
_NUMBER = re.compile(r"(?<![0-9A-Za-z_.\-])(?:[0-9]{3}([ .\-]?)[0-9]{2}\1[0-9]{4}|[0-9]{7,8})(?![0-9A-Za-z_]|[.\-][0-9A-Za-z])")
_WORDS = ContextWords(CONTEXT["US_SSN"])
_KEY = re.compile(r"(?i)(?:ssn|social[\s_]?security(?:[\s_]?(?:number|no|num))?)[\"']?\s?[:=]\s?[\"']?$")
"""Directly before a number of seven or eight digits: as a number in JSON, 078051120 has lost its zero."""
_CAMEL = re.compile(r"[a-z](?:Ssn|SSN|SocialSecurity)\w{0,10}[\"']?\s?[:=]\s?[\"']?$")


def find(view: TextView, deadline: float) -> Iterator[Finding]:
    text = view.text
    seconds_left(deadline)
    for m in _NUMBER.finditer(text):
        before = text[max(0, m.start() - 40) : m.start()]
        if _KEY.search(before) or (len(m[0]) >= _DIGITS and (_WORDS.is_near(text, *m.span()) or _CAMEL.search(before))):
            yield Finding("US_SSN", *m.span(), 0.85)
