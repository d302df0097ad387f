"""presidio-analyzer's pattern recognizers, offline: a blank tokenizer gives context words, and no model is looked for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from synth_ray.errors import Absent
from synth_ray.job.scrub import Scrub
from synth_ray.scrub.redact import Span

_CANARIES = {
    "EMAIL_ADDRESS": "Write to jane.roe@example.com please.",
    "PHONE_NUMBER": "My phone number is (212) 867-5309, call me.",
    "CREDIT_CARD": "My card is 4111 1111 1111 1111.",
    "IBAN_CODE": "The account is DE89 3704 0044 0532 0130 00.",
    "US_SSN": "Her social security number is 536-90-4399.",
    "IP_ADDRESS": "The server is 93.184.216.34 today.",
    "CRYPTO": "Send it to 1BoatSLRHtKNngkdXEeobR76b53LETtpyT now.",
}


def open_detector(section: Scrub) -> Callable[[str], list[Span]]:
    """A function from text to findings. Raises Absent when an entity is not supported or its canary is not found."""
    _silence()
    analyzer = _analyzer(section.language)
    unknown = sorted(set(section.entities) - set(analyzer.get_supported_entities(section.language)))
    if unknown:
        raise Absent(
            f"scrub.entities: wanted entities that engine '{section.engine}' finds, got {', '.join(unknown)}; "
            "remove them, or use an engine with a model"
        )

    def find(text: str) -> list[Span]:
        found = analyzer.analyze(
            text, language=section.language, entities=section.entities, score_threshold=section.threshold
        )
        return [(one.start, one.end, one.entity_type) for one in found]

    _self_test(section, find)
    return find


def _self_test(section: Scrub, find: Callable[[str], list[Span]]) -> None:
    dead = [e for e in section.entities if e in _CANARIES and e not in {f[2] for f in find(_CANARIES[e])}]
    if dead:
        raise Absent(
            f"scrub.threshold: wanted every entity's built-in example found, got none of {', '.join(dead)} at "
            f"{section.threshold}; lower the threshold or remove these entities"
        )


def _silence() -> None:
    """Presidio logs the words around findings, and failed values: nothing of it may reach a log."""
    for name in ("presidio-analyzer", "presidio_analyzer", "tldextract"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [logging.NullHandler()], False
        logger.setLevel(logging.CRITICAL + 1)


def _analyzer(language: str) -> Any:
    import presidio_analyzer.predefined_recognizers.generic.email_recognizer as email
    import spacy
    import tldextract
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NlpArtifacts, NoOpNlpEngine

    class Blank(NoOpNlpEngine):  # type: ignore[misc]
        """Words by a blank tokenizer, each its own lemma; no names are found, and none are advertised."""

        engine_name = "blank"

        def load(self) -> None:
            self.nlp = {m["lang_code"]: spacy.blank(m["lang_code"]) for m in self.models}
            for pipeline in self.nlp.values():
                pipeline.max_length = 10**9

        def process_text(self, text: str, language: str) -> Any:
            words = self.nlp[language].make_doc(text)
            return NlpArtifacts(
                entities=[],
                tokens=words,
                tokens_indices=[w.idx for w in words],
                lemmas=[w.text for w in words],
                nlp_engine=self,
                language=language,
                scores=[],
            )

        def is_stopword(self, word: str, language: str) -> bool:
            return bool(self.nlp[language].vocab[word].is_stop)

        def is_punct(self, word: str, language: str) -> bool:
            return bool(self.nlp[language].vocab[word].is_punct)

    class Offline:
        """Stands where the recognizer looks for tldextract: its bundled list, no cache, no request."""

        extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)

    email.tldextract = Offline
    engine = Blank(models=[{"lang_code": language, "model_name": "blank"}])
    engine.load()
    return AnalyzerEngine(nlp_engine=engine, supported_languages=[language])
