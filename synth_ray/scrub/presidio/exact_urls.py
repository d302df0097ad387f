"""Presidio's URL patterns in RE2: the same matches in linear time.

Presidio's own regex is at least quadratic on dotted text: 9.5 s for ten thousand characters of "a.a.a.".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from synth_ray.scrub.findings import Finding
from synth_ray.scrub.presidio.prefilter import FOLDS_TO_ASCII, Prefilter
from synth_ray.scrub.text_view import TextView, seconds_left

_SPACE = r"\t\n\x0b\f\r \x1c-\x1f\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"
"""Whitespace as in Python: RE2's \\s has only its ASCII part."""
_TOP_LEVEL = re.compile(r"\(\?:([a-z0-9\-]+)\)")

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
"""Lone surrogates have no UTF-8 form; any other character that is no whitespace or delimiter can replace them in a URL."""


def url_detectors(recognizer: Any, prefilter: Prefilter) -> Iterator[tuple[float, int, Any]]:
    """(score, gate, find) of each pattern. The caller must check by digest that the patterns are known (`exact.URL_KEYS`)."""
    base = type(recognizer).BASE_URL_REGEX
    begin = base.index("[.](?:(?:com)") + 3
    domains = sorted(set(_TOP_LEVEL.findall(base[begin : base.index(r"(?:/[^\s", begin)])))
    gate = prefilter.add(rf"[a-z0-9.\-]\.(?:{'|'.join(domains)})")
    for pattern in recognizer.patterns:
        yield pattern.score, gate, _url_find(recognizer, pattern)


def _url_find(recognizer: Any, pattern: Any) -> Any:
    import regex

    linear = _compile_linear(pattern.regex)
    stock = regex.compile(pattern.regex, flags=recognizer.global_regex_flags)
    entity, score = recognizer.supported_entities[0], pattern.score

    def find(view: TextView, deadline: float) -> Iterator[Finding]:
        text = view.text
        left = seconds_left(deadline)
        if not text.isascii() and FOLDS_TO_ASCII.search(text):
            yield from (Finding(entity, m.start(), m.end(), score) for m in stock.finditer(text, timeout=left))
            return
        if not text.isascii():
            text = _LONE_SURROGATE.sub("\ufffd", text)
        last = 0
        for low, high in view.url_windows():
            begin = max(low, last)
            for m in linear.finditer(text[begin:high]):
                start, last = begin + m.start(), begin + m.end()
                yield Finding(entity, start, last, score)

    return find


def _compile_linear(expression: str) -> Any:
    import re2

    options = re2.Options()
    options.max_mem = 512 << 20
    options.log_errors = False
    options.dot_nl = True
    translated = expression.replace(r"[^\s()<>\"']", f"[^{_SPACE}()<>\"']")
    if r"\s" in translated:
        raise ValueError("wanted a URL pattern whose whitespace is known, got another")
    return re2.compile(translated, options)
