"""The exact path returns stock Presidio's findings: entity, span, score and order."""

from __future__ import annotations

import random

import pytest

from bench.pii_fuzz import fragments, fuzzed
from bench.pii_texts import corpus
from synth_ray.job.scrub import Policy, Scrub, Secrets
from synth_ray.scrub.detect.patterns import PatternFinder
from synth_ray.scrub.findings import Finding
from synth_ray.scrub.presidio import exact, known_sources, stock
from synth_ray.scrub.presidio.exact import ExactPatterns
from synth_ray.scrub.scrubber import open_scrubber

NEVER = 1e18


@pytest.fixture(scope="module")
def analyzer() -> object:
    return stock.analyzer()


@pytest.fixture(scope="module")
def fast() -> ExactPatterns:
    return ExactPatterns()


def stock_findings(analyzer: object, text: str) -> list[Finding]:
    return [Finding(r.entity_type, r.start, r.end, r.score) for r in analyzer.analyze(text, "en")]  # type: ignore[attr-defined]


def test_findings_equal_stock_presidios_on_generated_chats(analyzer: object, fast: ExactPatterns) -> None:
    for sample in [*corpus(250, seed=71), *corpus(150, seed=72, dense=False)]:
        assert fast.find([sample.text], deadline=NEVER)[0] == stock_findings(analyzer, sample.text)


@pytest.mark.slow
def test_findings_equal_stock_presidios_on_a_thousand_mangled_texts(analyzer: object, fast: ExactPatterns) -> None:
    draw = random.Random(73)
    planted = fragments(corpus(120, seed=74))
    for _ in range(1000):
        text = fuzzed(draw, planted)
        assert fast.find([text], deadline=NEVER)[0] == stock_findings(analyzer, text), repr(text)


def test_with_every_policy_rule_off_findings_equal_stock_presidios(analyzer: object) -> None:
    off = Policy(**dict.fromkeys(Policy.model_fields, False))
    entities = analyzer.get_supported_entities("en")  # type: ignore[attr-defined]
    finder = PatternFinder(Scrub(entities=entities, policy=off, secrets=Secrets(find=False)))
    for sample in corpus(60, seed=75):
        assert finder.find([sample.text], deadline=NEVER)[0] == stock_findings(analyzer, sample.text)


def test_an_unknown_presidio_version_runs_without_prefilters_and_finds_the_same(
    analyzer: object, monkeypatch: pytest.MonkeyPatch, fast: ExactPatterns
) -> None:
    monkeypatch.setitem(known_sources.ENGINE, "presidio_analyzer.pattern_recognizer", "another digest")
    without_prefilters = ExactPatterns()
    assert {detector.gate for detector in without_prefilters._detectors} == {None}
    open_scrubber(Scrub())
    for sample in corpus(10, seed=76):
        assert without_prefilters.find([sample.text], deadline=NEVER) == fast.find([sample.text], deadline=NEVER)


def test_an_unknown_regex_has_no_prefilter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "GATES", {})
    assert all(
        detector.gate is None
        for detector in ExactPatterns()._detectors
        if detector.entity in ("EMAIL_ADDRESS", "US_SSN", "IP_ADDRESS")
    )
