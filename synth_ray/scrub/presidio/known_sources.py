"""The sources of Presidio and phonenumbers that the fast path was compared with, by digest of each module.

The fast path repeats what private code of these modules does. Where the installed source is another, stock Presidio runs
unchanged: the same findings, several times slower. `tests/house/test_internals.py` fails with a plain sentence when an upgrade
changes any of it.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect

ENGINE = {
    "presidio_analyzer.analyzer_engine": "987e8ea469d461cb",
    "presidio_analyzer.context_aware_enhancers.lemma_context_aware_enhancer": "6afd7a827e66fafb",
    "presidio_analyzer.entity_recognizer": "f6a1d642ec24e0a3",
    "presidio_analyzer.nlp_engine.no_op_nlp_engine": "5ac88b18edb8b20b",
    "presidio_analyzer.pattern_recognizer": "38dbbb9b2a8fa9e9",
}
IBAN = {"presidio_analyzer.predefined_recognizers.generic.iban_recognizer": "287013043056c195"}
PHONE = {
    "presidio_analyzer.predefined_recognizers.generic.phone_recognizer": "d8bef4065297fb36",
    "phonenumbers.phonenumbermatcher": "ed162b1697ad0a09",
    "phonenumbers.phonenumberutil": "27a248e3bec5db0f",
}


def is_known(sources: dict[str, str]) -> bool:
    """Whether the installed modules have exactly the source that the fast path was written against."""
    return all(digest_of(name) == digest for name, digest in sources.items())


def digest_of(module: str) -> str:
    return hashlib.sha256(inspect.getsource(importlib.import_module(module)).encode()).hexdigest()[:16]
