"""Stock Presidio with its pattern recognizers and without network, model or log.

Source of the recognizers: presidio-analyzer (MIT), `NoOpNlpEngine` and the default registry for English.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from typing import Any

LANGUAGE = "en"
_LOGGERS = ("presidio-analyzer", "decision_process", "tldextract")


class _LogBlocker(logging.Filter):
    """Drops every log record, since Presidio logs values, and remembers whether Presidio skipped a pattern.

    Presidio only logs that a pattern ran out of time, and goes on without it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], TimeoutError):
            self._seen.skipped = True
        return False

    def skipped(self) -> bool:
        """Whether a pattern was skipped in this thread since the last call."""
        seen, self._seen.skipped = getattr(self._seen, "skipped", False), False
        return bool(seen)


LOG_BLOCKER = _LogBlocker()

_FRAMEWORKS = frozenset({"torch", "transformers"})


class _FrameworkBlocker(MetaPathFinder):
    """Makes imports of the frameworks fail on one thread, as if they were not installed; other threads import them as ever."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname in _FRAMEWORKS and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(f"{fullname} is not needed here", name=fullname)


@contextmanager
def without_frameworks() -> Iterator[None]:
    """Import spaCy and Presidio without torch and transformers, which they import wherever they are installed.

    No pattern recognizer needs them, and they take five of the six seconds of processor time. In this process spaCy then has no
    torch: import spaCy first where a pipeline needs it. Frameworks that are loaded already stay.
    """
    finder = _FrameworkBlocker()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def block_logs() -> None:
    """Silence Presidio's loggers in this process, whatever their level or handlers."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        if LOG_BLOCKER not in logger.filters:
            logger.addFilter(LOG_BLOCKER)


def offline_suffixes() -> Any:
    """The public suffix list that ships with tldextract: no request, no cache on disk, the same on every node."""
    import tldextract

    extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None, fallback_to_snapshot=True)
    extract("a@b.com")
    return extract


def registry() -> Any:
    """Presidio's default recognizers for English, with e-mail domains checked against the offline suffix list."""
    block_logs()
    with without_frameworks():
        from presidio_analyzer.predefined_recognizers import EmailRecognizer
        from presidio_analyzer.recognizer_registry import RecognizerRegistryProvider

    extract = offline_suffixes()

    class OfflineEmailRecognizer(EmailRecognizer):  # type: ignore[misc]
        def validate_result(self, pattern_text: str) -> bool:
            return bool(extract(pattern_text).fqdn)

    recognizers = RecognizerRegistryProvider(
        registry_configuration={"supported_languages": [LANGUAGE]}
    ).create_recognizer_registry()
    recognizers.recognizers = [
        OfflineEmailRecognizer(patterns=r.patterns, context=r.context, name=r.name) if type(r) is EmailRecognizer else r
        for r in recognizers.recognizers
    ]
    return recognizers


def analyzer() -> Any:
    """Stock Presidio's `AnalyzerEngine`: the reference for the fast path, which uses it for code with an unknown digest."""
    block_logs()
    with without_frameworks():
        from presidio_analyzer import AnalyzerEngine
        from presidio_analyzer.nlp_engine import NoOpNlpEngine

    engine = NoOpNlpEngine(models=[{"lang_code": LANGUAGE, "model_name": "none"}])
    engine.load()
    return AnalyzerEngine(registry=registry(), nlp_engine=engine, supported_languages=[LANGUAGE])
