"""Builds the finders of the job and checks that each entity is found in a sample sentence."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

from synth_ray.errors import JobError, MissingResource
from synth_ray.job.scrub import Scrub
from synth_ray.scrub.findings import Finder, Finding
from synth_ray.scrub.replace.fixpoint import FindingFilter, FixpointScrubber
from synth_ray.scrub.replace.placeholders import PLACEHOLDER, Placeholders
from synth_ray.scrub.replace.rendering import ReplacerFactory
from synth_ray.scrub.replace.surrogates import SURROGATE, Surrogates

SELF_TEST_TEXTS = {
    "CREDIT_CARD": "Please charge my card 4111 1111 1111 1111 today.",
    "CRYPTO": "My bitcoin wallet is 1BoatSLRHtKNngkdXEeobR76b53LETtpyT now.",
    "DATE_TIME": "My date of birth is 1987-03-04.",
    "EMAIL_ADDRESS": "Write to jane.roe@mail.com please.",
    "IBAN_CODE": "My IBAN is DE89 3704 0044 0532 0130 00.",
    "IP_ADDRESS": "The login came from ip 93.184.216.34 today.",
    "LOCATION": "She lives in Paris, France.",
    "MAC_ADDRESS": "The mac address is 3c:22:fb:9a:10:4e.",
    "MEDICAL_LICENSE": "His DEA certificate is AB1234563.",
    "NRP": "She is a German citizen.",
    "ORGANIZATION": "He works for Microsoft Corporation in Seattle.",
    "PERSON": "My name is John Smith.",
    "PHONE_NUMBER": "My phone number is (212) 867-5309, call me.",
    "SECRET": "The token is ghp_16C7e42F292c6912E7710c838347Ae178B4a now.",
    "UK_NHS": "My NHS number is 943 476 5919.",
    "URL": "The website is https://www.jane-roe.com/about today.",
    "US_BANK_NUMBER": "My bank account number is 945456787654.",
    "US_DRIVER_LICENSE": "My driver license is H1234567.",
    "US_ITIN": "My individual taxpayer itin is 911-70-1234.",
    "US_PASSPORT": "My passport number is 912803456.",
    "US_SSN": "My social security number (ssn) is 536-90-4399.",
    "UUID": "The uuid is 550e8400-e29b-41d4-a716-446655440000.",
}
"""For each entity, a sample sentence in which it must be found before the job may start."""


MIN_KEY_BYTES = 16


def build_scrubber(section: Scrub, *, key: str) -> FixpointScrubber:
    """`key` is the secret key of the surrogates; other replacements need none. Raises JobError or MissingResource."""
    if section.engine == "spacy":
        import spacy  # noqa: F401  before Presidio, which imports it without torch
    from synth_ray.scrub.detect.patterns import PatternFinder

    make_replacer = _replacer_factory(section, key)
    patterns = PatternFinder(section)
    models: list[Finder] = []
    if section.engine != "patterns":
        from synth_ray.scrub.detect.name_models import open_names

        models.append(open_names(section))
    finders: list[Finder] = [patterns, *models]
    _refuse_unknown(section, finders)
    filter_findings = finding_filter(section)
    _self_test(section, finders, filter_findings)
    return FixpointScrubber(
        finders=[patterns],
        models=models,
        filter_findings=filter_findings,
        make_replacer=make_replacer,
        protected=[PLACEHOLDER, SURROGATE] if section.replace == "surrogate" else [PLACEHOLDER],
        timeout_s=section.record_timeout_s,
    )


def _replacer_factory(section: Scrub, key: str) -> ReplacerFactory | None:
    if section.replace == "nothing":
        return None
    if section.replace == "placeholder":
        return Placeholders
    if len(key.encode()) < MIN_KEY_BYTES:
        raise MissingResource(
            f"scrub.key_env: wanted a key of at least {MIN_KEY_BYTES} bytes in the environment variable "
            f"'{section.key_env}', got {len(key.encode())}; set it for every worker, the same wherever surrogates must agree"
        )
    return partial(Surrogates, key.encode())


def finding_filter(section: Scrub) -> FindingFilter:
    """Keeps findings that reach their threshold and whose value is not on the allow list."""
    allowed = frozenset(v.strip().casefold() for v in section.allow)

    def filter_findings(text: str, findings: list[Finding]) -> list[Finding]:
        kept = [f for f in findings if f.score >= section.thresholds.get(f.entity, section.threshold)]
        if allowed:
            kept = [f for f in kept if text[f.start : f.end].strip().casefold() not in allowed]
        return kept

    return filter_findings


def _refuse_unknown(section: Scrub, finders: Sequence[Finder]) -> None:
    known = frozenset[str]().union(*(f.entities for f in finders))
    unknown = sorted(set(section.entities_to_find()) - known)
    if unknown:
        raise JobError(
            f"scrub.entities: wanted entities that engine '{section.engine}' finds, got {', '.join(unknown)}; leave them out, "
            f"choose an engine with a model that finds them, or add a recognizer; it finds {', '.join(sorted(known))}"
        )


def _self_test(section: Scrub, finders: Sequence[Finder], filter_findings: FindingFilter) -> None:
    """Raise MissingResource if a wanted entity is not found in its sample sentence."""
    wanted = [*section.entities_to_find(), *(["SECRET"] if section.secrets.find else [])]
    missing = [e for e in wanted if e in SELF_TEST_TEXTS and not _is_found(e, finders, filter_findings)]
    if missing:
        raise MissingResource(
            f"scrub: wanted each entity found in a text that holds it, got none of {', '.join(missing)} with engine "
            f"'{section.engine}'; lower their thresholds, choose another model, or leave these entities out"
        )


_SELF_TEST_TIMEOUT_S = 120.0


def _is_found(entity: str, finders: Sequence[Finder], filter_findings: FindingFilter) -> bool:
    text = SELF_TEST_TEXTS[entity]
    findings = [f for finder in finders for f in finder.find([text], deadline=time.monotonic() + _SELF_TEST_TIMEOUT_S)[0]]
    return any(f.entity == entity for f in filter_findings(text, findings))
