"""The fast path finds what stock Presidio finds: type, span, score and order."""

from __future__ import annotations

import random

import pytest
from pii_texts import corpus

from synth_ray.job.scrub import Policy, Scrub, Secrets
from synth_ray.scrub import exact, stock
from synth_ray.scrub.exact import ExactPatterns
from synth_ray.scrub.findings import Finding
from synth_ray.scrub.patterns import PatternFinder

NEVER = 1e18
PIECES = [
    *"0123456789" * 3,
    *"+-() ./x#,;:@_*\"'<>[]{}=~%$\n\t",
    *"abcDEFxz",
    "\u00a0",
    "–",
    "’",
    "\u0663",
    "\uff0b",
    "\u212a",
    "ſ",
    "é",
    "中",
]
PIECES += [
    "🙂",
    "\u200b",
    "\u2028",
    "\ud800",
    " ext ",
    "https://",
    "www.",
    ".com",
    ".de",
    "::",
    "DE89 ",
    "bc1",
    "1.2.3.4",
    "::ffff:8.8.8.8",
]
WORDS = [
    "my",
    "phone",
    "call",
    "card",
    "ssn",
    "server",
    "ip",
    "iban",
    "account",
    "date",
    "url",
    "is",
    "of:",
    "Be",
    "12:30",
    "cannot",
]


@pytest.fixture(scope="module")
def analyzer() -> object:
    return stock.analyzer()


@pytest.fixture(scope="module")
def fast() -> ExactPatterns:
    return ExactPatterns()


def stock_findings(analyzer: object, text: str) -> list[Finding]:
    return [Finding(r.entity_type, r.start, r.end, r.score) for r in analyzer.analyze(text, "en")]  # type: ignore[attr-defined]


def fuzzed(draw: random.Random, planted: list[str]) -> str:
    if draw.random() < 0.5:
        text = draw.choice([" ", "\n", " - ", ", ", "/", ""]).join(
            draw.choice(planted if draw.random() < 0.6 else WORDS) for _ in range(draw.randint(2, 12))
        )
    else:
        text = "".join(draw.choices(PIECES, k=draw.randint(5, 120)))
    characters = list(text)
    for _ in range(draw.choice([0, 1, 3, 10])):
        at = draw.randrange(len(characters) + 1)
        characters[at : at + draw.choice([0, 1, 2])] = draw.choice(PIECES)
    return "".join(characters)


def test_findings_are_stock_presidios_on_generated_chats(analyzer: object, fast: ExactPatterns) -> None:
    for sample in [*corpus(250, seed=71), *corpus(150, seed=72, dense=False)]:
        assert fast.find([sample.text], until=NEVER)[0] == stock_findings(analyzer, sample.text)


def test_findings_are_stock_presidios_on_a_thousand_mangled_texts(analyzer: object, fast: ExactPatterns) -> None:
    draw = random.Random(73)
    planted = [s.text[a:b] for s in corpus(120, seed=74) for a, b, _ in (*s.spans, *s.traps) if b - a < 120]
    for _ in range(1000):
        text = fuzzed(draw, planted)
        assert fast.find([text], until=NEVER)[0] == stock_findings(analyzer, text), repr(text)


def test_with_every_rule_of_the_policy_off_the_engine_is_stock(analyzer: object) -> None:
    off = Policy(**dict.fromkeys(Policy.model_fields, False))
    entities = analyzer.get_supported_entities("en")  # type: ignore[attr-defined]
    finder = PatternFinder(Scrub(entities=entities, policy=off, secrets=Secrets(find=False)))
    for sample in corpus(60, seed=75):
        assert finder.find([sample.text], until=NEVER)[0] == stock_findings(analyzer, sample.text)


def test_a_presidio_that_was_not_read_runs_unaided_and_finds_the_same(
    analyzer: object, monkeypatch: pytest.MonkeyPatch, fast: ExactPatterns
) -> None:
    monkeypatch.setitem(exact._ENGINE, "presidio_analyzer.pattern_recognizer", "another digest")
    unaided = ExactPatterns()
    assert [job.gate for job in unaided._jobs] == [None]
    for sample in corpus(10, seed=76):
        assert unaided.find([sample.text], until=NEVER) == fast.find([sample.text], until=NEVER)


def test_a_regex_that_was_not_read_has_no_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "GATES", {})
    assert all(job.gate is None for job in ExactPatterns()._jobs if job.entity in ("EMAIL_ADDRESS", "US_SSN", "IP_ADDRESS"))
