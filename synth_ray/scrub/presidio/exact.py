"""Stock Presidio's pattern findings, with one prefilter pass and regexes run in windows, not each over the whole text.

Law: the same findings as `AnalyzerEngine.analyze` with `NoOpNlpEngine`: type, span, score and order. A recognizer whose regex or
source has an unknown digest runs as in Presidio. The one difference: libphonenumber gives up after 65,535 rejected candidates in
a text, this does not.

Source: presidio-analyzer 2.2 (MIT), `PatternRecognizer` and `EntityRecognizer.remove_duplicates`; phonenumbers (Apache-2.0).
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from synth_ray.scrub.findings import Finding
from synth_ray.scrub.presidio import stock
from synth_ray.scrub.presidio.prefilter import FOLDS_TO_ASCII, GATES, PHONE_GATE, REGEX_AS_GATE, Prefilter, key_of
from synth_ray.scrub.text_view import TextView, seconds_left

logger = logging.getLogger(__name__)

_ENGINE = {
    "presidio_analyzer.analyzer_engine": "987e8ea469d461cb",
    "presidio_analyzer.context_aware_enhancers.lemma_context_aware_enhancer": "6afd7a827e66fafb",
    "presidio_analyzer.entity_recognizer": "f6a1d642ec24e0a3",
    "presidio_analyzer.nlp_engine.no_op_nlp_engine": "5ac88b18edb8b20b",
    "presidio_analyzer.pattern_recognizer": "38dbbb9b2a8fa9e9",
}
_IBAN = {"presidio_analyzer.predefined_recognizers.generic.iban_recognizer": "287013043056c195"}
_PHONE = {
    "presidio_analyzer.predefined_recognizers.generic.phone_recognizer": "d8bef4065297fb36",
    "phonenumbers.phonenumbermatcher": "ed162b1697ad0a09",
    "phonenumbers.phonenumberutil": "27a248e3bec5db0f",
}

Find = Callable[[TextView, float], Iterable[Finding]]
CandidateFilter = Callable[[str, int, int], bool]


class Detector(NamedTuple):
    """Looks for one entity. `max_score` is the highest score it can give; `gate` is the number of the expression in the prefilter
    without which it is not run (None: always run).
    """

    entity: str
    max_score: float
    gate: int | None
    find: Find


def is_known_source(sources: dict[str, str]) -> bool:
    """Whether the installed modules have exactly the source that this fast path was written against."""
    return all(
        hashlib.sha256(inspect.getsource(importlib.import_module(name)).encode()).hexdigest()[:16] == digest
        for name, digest in sources.items()
    )


def detectors_of(
    analyzer: Any, prefilter: Prefilter, *, entities: Collection[str] | None = None, is_candidate: CandidateFilter | None = None
) -> list[Detector]:
    """A detector for each pattern of the analyzer's recognizers, gated if its regex is known. With an unknown version of
    Presidio, one detector per entity that runs stock Presidio.

    `is_candidate` may reject candidates for phone numbers before libphonenumber checks them.
    """
    recognizers = analyzer.registry.get_recognizers(language=stock.LANGUAGE, all_fields=True)
    chosen = [r for r in recognizers if entities is None or set(r.supported_entities) & set(entities)]
    if not is_known_source(_ENGINE) or any(len(r.supported_entities) != 1 or r.score_thresholds for r in chosen):
        logger.warning("scrub: this presidio-analyzer is not the one the fast path was compared with; it runs unaided")
        supported = {e for r in chosen for e in r.supported_entities}
        return [_stock_detector(analyzer, e) for e in sorted(supported if entities is None else supported & set(entities))]
    return [detector for r in chosen for detector in _detectors(r, prefilter, is_candidate)]


def _detectors(recognizer: Any, prefilter: Prefilter, is_candidate: CandidateFilter | None) -> Iterator[Detector]:
    from presidio_analyzer import PatternRecognizer
    from presidio_analyzer.predefined_recognizers import IbanRecognizer, PhoneRecognizer, UrlRecognizer

    from synth_ray.scrub.presidio.exact_phones import PhoneFinder
    from synth_ray.scrub.presidio.exact_urls import url_detectors

    kind = type(recognizer)
    entity = recognizer.supported_entities[0]
    if kind is PhoneRecognizer and is_known_source(_PHONE):
        yield Detector(
            entity, recognizer.SCORE, prefilter.add(PHONE_GATE), PhoneFinder(recognizer, is_candidate=is_candidate).find
        )
    elif kind is UrlRecognizer and all(key_of(p.regex) in URL_KEYS for p in recognizer.patterns):
        yield from (Detector(entity, best, gate, find) for best, gate, find in url_detectors(recognizer, prefilter))
    elif kind is IbanRecognizer and is_known_source(_IBAN) and len(recognizer.patterns) == 1:
        gate = GATES.get(key_of(recognizer.patterns[0].regex))
        yield Detector(entity, 1.0, prefilter.add(gate[0]) if gate else None, _iban_find(recognizer))
    elif isinstance(recognizer, PatternRecognizer) and kind.analyze is PatternRecognizer.analyze:
        for pattern in recognizer.patterns:
            yield _pattern_detector(recognizer, pattern, prefilter)
    else:
        yield Detector(entity, 1.0, None, _run_unchanged(recognizer))


URL_KEYS = frozenset({"422b91a465b6177e", "7405c3a8b8c39f4d", "473c5e6b40a31272", "58b5bbbc4796bab1"})


def _pattern_detector(recognizer: Any, pattern: Any, prefilter: Prefilter) -> Detector:
    from presidio_analyzer import PatternRecognizer

    validates = type(recognizer).validate_result is not PatternRecognizer.validate_result
    gate, trigger = GATES.get(key_of(pattern.regex), (None, ""))
    gate_number = None if gate is None else prefilter.add(pattern.regex if gate == REGEX_AS_GATE else gate)
    max_score = 1.0 if validates else pattern.score
    return Detector(recognizer.supported_entities[0], max_score, gate_number, _pattern_find(recognizer, pattern, trigger))


def _pattern_find(recognizer: Any, pattern: Any, trigger: str) -> Find:
    """`PatternRecognizer.__analyze_patterns` for one pattern, in windows if that gives the same findings."""
    import regex
    from presidio_analyzer import PatternRecognizer

    entity, score = recognizer.supported_entities[0], pattern.score
    compiled = regex.compile(pattern.regex, flags=recognizer.global_regex_flags)
    kind = type(recognizer)
    validate = None if kind.validate_result is PatternRecognizer.validate_result else recognizer.validate_result
    refuse = None if kind.invalidate_result is PatternRecognizer.invalidate_result else recognizer.invalidate_result
    is_validated = validate is not None or refuse is not None

    def find(view: TextView, deadline: float) -> Iterator[Finding]:
        text = view.text
        scores: dict[str, float] = {}
        for m in _matches(compiled, text, view.windows(trigger), deadline):
            start, end = m.span()
            if start == end:
                continue
            score_ = score
            if is_validated:
                value = text[start:end]
                if value not in scores:
                    scores[value] = judge(value)
                score_ = scores[value]
            if score_ > 0:
                yield Finding(entity, start, end, score_)

    def judge(value: str) -> float:
        valid = None if validate is None else validate(value)
        score_ = score if valid is None else float(bool(valid))
        return 0.0 if refuse is not None and refuse(value) else score_

    return find


def _matches(compiled: Any, text: str, windows: Iterable[tuple[int, int]], deadline: float) -> Iterator[Any]:
    last, left = 0, seconds_left(deadline)
    for low, high in windows:
        for m in compiled.finditer(text, max(low, last), high, timeout=left):
            last = m.end()
            yield m


def _iban_find(recognizer: Any) -> Find:
    """`IbanRecognizer.__analyze_patterns`: the longest of three groups that is valid."""
    import regex

    pattern = recognizer.patterns[0]
    compiled = regex.compile(pattern.regex, flags=recognizer.global_regex_flags)
    entity = recognizer.supported_entities[0]

    def find(view: TextView, deadline: float) -> Iterator[Finding]:
        text = view.text
        for m in compiled.finditer(text, timeout=seconds_left(deadline)):
            start = m.start()
            for group in (3, 2, 1):
                end = m.end(group) if m.end(group) > 0 else m.end()
                valid = recognizer.validate_result(text[start:end])
                if valid is None or valid:
                    yield Finding(entity, start, end, pattern.score if valid is None else 1.0)
                    break

    return find


def _run_unchanged(recognizer: Any) -> Find:
    """A recognizer as Presidio runs it, except that a pattern that runs out of time raises TimeoutError."""

    def find(view: TextView, deadline: float) -> list[Finding]:
        seconds_left(deadline)
        findings = [
            Finding(r.entity_type, r.start, r.end, r.score)
            for r in recognizer.analyze(view.text, recognizer.supported_entities, None)
        ]
        if stock.LOG_BLOCKER.skipped():
            raise TimeoutError
        return findings

    return find


def _stock_detector(analyzer: Any, entity: str) -> Detector:
    def find(view: TextView, deadline: float) -> list[Finding]:
        seconds_left(deadline)
        results = analyzer.analyze(view.text, stock.LANGUAGE, [entity])
        if stock.LOG_BLOCKER.skipped():
            raise TimeoutError
        return [Finding(r.entity_type, r.start, r.end, r.score) for r in results]

    return Detector(entity, 1.0, None, find)


def without_duplicates(findings: Iterable[Finding]) -> list[Finding]:
    """`EntityRecognizer.remove_duplicates`: drops a finding inside another of the same entity with at least its score; sorts by
    score.
    """
    ordered = sorted(set(findings), key=lambda f: (f.entity, f.start, f.start - f.end, -f.score))
    kept: list[Finding] = []
    entity = ""
    active: list[Finding] = []
    for f in ordered:
        if f.entity != entity:
            entity, active = f.entity, []
        active = [a for a in active if a.end >= f.start]
        if not any(f.start >= a.start and f.end <= a.end and f.score <= a.score for a in active):
            kept.append(f)
            active.append(f)
    return sorted(kept, key=lambda f: (-f.score, f.start, f.start - f.end))


class ExactPatterns:
    """A `Finder` with stock Presidio's findings. `entities` selects as in `AnalyzerEngine.analyze(entities=…)`."""

    def __init__(self, *, entities: Collection[str] | None = None) -> None:
        analyzer = stock.analyzer()
        self._prefilter = Prefilter()
        self._detectors = detectors_of(analyzer, self._prefilter, entities=entities)
        self.entities = frozenset(analyzer.get_supported_entities(stock.LANGUAGE))

    def find(self, texts: Sequence[str], *, deadline: float) -> list[list[Finding]]:
        return [self._find(text, deadline) for text in texts]

    def _find(self, text: str, deadline: float) -> list[Finding]:
        detectors = triggered_detectors(self._detectors, self._prefilter, text)
        view = TextView(text)
        findings = [f for detector in detectors for f in detector.find(view, deadline)]
        return without_duplicates(findings) if findings else findings


def triggered_detectors(detectors: Sequence[Detector], prefilter: Prefilter, text: str) -> Sequence[Detector]:
    """The detectors whose gates the text opens."""
    if not text.isascii() and FOLDS_TO_ASCII.search(text):
        return detectors
    open_gates = prefilter.matching(text)
    return [detector for detector in detectors if detector.gate is None or detector.gate in open_gates]
