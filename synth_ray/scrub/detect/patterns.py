"""The engine `patterns`: Presidio's recognizers on the fast path, the policy's rules on top, and secrets, with one prefilter
pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from synth_ray.job.scrub import Scrub
from synth_ray.scrub.detect import (
    cards,
    context_words,
    custom,
    emails,
    gitleaks,
    ibans,
    ips,
    passwords,
    phones,
    ssns,
    tokens,
    wallets,
)
from synth_ray.scrub.detect.context_words import ContextWords, boosted_score
from synth_ray.scrub.findings import Finding
from synth_ray.scrub.presidio import stock
from synth_ray.scrub.presidio.exact import Detector, Find, detectors_of, without_duplicates
from synth_ray.scrub.presidio.prefilter import FOLDS_TO_ASCII, Prefilter
from synth_ray.scrub.text_view import TextView, plain_form, seconds_left

SECRET = "SECRET"
Accept = Callable[[str, Finding], bool]


class GatedDetector(NamedTuple):
    """A detector with its accept rule and the context words it needs to pass its threshold. `as_written`: it reads the text as it
    is, not its plain form.
    """

    detector: Detector
    accept: Accept | None = None
    context: ContextWords | None = None
    context_gate: int | None = None
    needs_context: bool = False
    as_written: bool = False


_MAX_COMBINATIONS = 4096  # distinct sets of gates that a text can open; few of them are common


class PatternFinder:
    """A `Finder` of structured identifiers and secrets.

    Law: with every rule of the policy off and secrets off, its findings are stock Presidio's. One pass over a text evaluates all
    gates; a text that opens none costs nothing more.
    """

    def __init__(self, section: Scrub) -> None:
        self._section = section
        self._prefilter = Prefilter()
        self._analyzer = stock.analyzer()
        known = frozenset(self._analyzer.get_supported_entities(stock.LANGUAGE))
        self.entities = known | {SECRET, *section.deny} | {r.entity for r in section.recognizers}
        wanted = set(section.entities_to_find()) & known
        self._detectors_by_gates = lru_cache(_MAX_COMBINATIONS)(self._detectors_for_gates)
        self._detectors = [
            *self._stock_detectors(wanted),
            *self._policy_detectors(wanted),
            *self._secret_detectors(),
            *self._custom_detectors(),
        ]
        self._reads_as_written = any(gated.as_written for gated in self._detectors)

    def find(self, texts: Sequence[str], *, deadline: float) -> list[list[Finding]]:
        return [self._find(text, deadline) for text in texts]

    def without_findings(self, texts: Sequence[str]) -> list[bool]:
        """Of each text, whether one search through all of them shows that `find` would find nothing in it."""
        if self._detectors_by_gates(frozenset()):
            return [False] * len(texts)
        plain = [place for place, text in enumerate(texts) if self._is_plain(text)]
        nothing = [False] * len(texts)
        for place in plain:
            nothing[place] = True
        for place in self._prefilter.texts_that_may_match([texts[place] for place in plain]):
            nothing[plain[place]] = False
        return nothing

    def _is_plain(self, text: str) -> bool:
        """Whether its gates are those of the text as it is written."""
        if text.isascii():
            return "\\" not in text or not self._section.policy.plain_form or plain_form(text) == text
        return FOLDS_TO_ASCII.search(text) is None and (not self._section.policy.plain_form or plain_form(text) == text)

    def _find(self, text: str, deadline: float) -> list[Finding]:
        plain = plain_form(text) if self._section.policy.plain_form else text
        if plain == text or not self._reads_as_written:
            findings = self._findings(plain, self._detectors_for(plain), deadline)
        else:
            of_plain = [gated for gated in self._detectors_for(plain) if not gated.as_written]
            of_text = [gated for gated in self._detectors_for(text) if gated.as_written]
            findings = self._findings(plain, of_plain, deadline) + self._findings(text, of_text, deadline)
        return without_duplicates(findings) if findings else findings

    def _findings(self, text: str, detectors: Sequence[GatedDetector], deadline: float) -> list[Finding]:
        if not detectors:
            return []
        seconds_left(deadline)
        view = TextView(text)
        return [f for gated in detectors for f in self._accepted_findings(gated, view, deadline)]

    def _detectors_for(self, text: str) -> Sequence[GatedDetector]:
        if not text.isascii() and FOLDS_TO_ASCII.search(text):
            return self._detectors
        return self._detectors_by_gates(self._prefilter.matching(text))

    def _detectors_for_gates(self, open_gates: frozenset[int]) -> Sequence[GatedDetector]:
        return [
            gated
            for gated in self._detectors
            if (gated.detector.gate is None or gated.detector.gate in open_gates)
            and (not gated.needs_context or gated.context_gate in open_gates)
        ]

    def _accepted_findings(self, gated: GatedDetector, view: TextView, deadline: float) -> Iterator[Finding]:
        text = view.text
        for f in gated.detector.find(view, deadline):
            if gated.accept is not None and not gated.accept(text, f):
                continue
            if gated.context is not None and (gated.needs_context or f.score < self._threshold(f.entity)):
                if gated.context.is_near(text, f.start, f.end):
                    f = f._replace(score=boosted_score(f.score))
                elif f.entity in context_words.CONTEXT_REQUIRED:
                    continue
            yield f

    def _threshold(self, entity: str) -> float:
        return self._section.thresholds.get(entity, self._section.threshold)

    def _stock_detectors(self, wanted: set[str]) -> Iterator[GatedDetector]:
        policy = self._section.policy
        rules = (("CREDIT_CARD", policy.cards), ("IBAN_CODE", policy.ibans), ("EMAIL_ADDRESS", policy.written_emails))
        replaced = {e for e, on in rules if on}
        accepts: dict[str, Accept] = {}
        if policy.phones:
            accepts["PHONE_NUMBER"] = phones.accept
        if policy.public_ips:
            accepts |= {"IP_ADDRESS": ips.is_public_ip, "MAC_ADDRESS": ips.is_device_mac}
        if policy.written_emails:
            accepts["URL"] = emails.is_no_mail_domain
        is_candidate = phones.is_candidate if policy.phones else None
        for detector in detectors_of(self._analyzer, self._prefilter, entities=wanted - replaced, is_candidate=is_candidate):
            yield self._with_context(detector, accepts.get(detector.entity))

    def _with_context(self, detector: Detector, accept: Accept | None) -> GatedDetector:
        context = self._presidio_context(detector.entity)
        words = context_words.context_words_for(detector.entity, context) if self._section.policy.context else None
        if words is None:
            return GatedDetector(detector, accept)
        needs_context = detector.entity in context_words.CONTEXT_REQUIRED or detector.max_score < self._threshold(detector.entity)
        return GatedDetector(detector, accept, words, self._prefilter.add(words.gate) if needs_context else None, needs_context)

    def _presidio_context(self, entity: str) -> list[str]:
        recognizers = self._analyzer.registry.get_recognizers(language=stock.LANGUAGE, all_fields=True)
        return sorted({w.lower() for r in recognizers if entity in r.supported_entities for w in r.context or ()})

    def _policy_detectors(self, wanted: set[str]) -> Iterator[GatedDetector]:
        policy = self._section.policy
        find_address, find_written_address = emails.finders(_domain_check())
        rules: tuple[tuple[bool, str, str, Find], ...] = (
            (policy.cards, "CREDIT_CARD", cards.GATE, cards.find),
            (policy.ibans, "IBAN_CODE", ibans.GATE, ibans.find),
            (policy.wallets, "CRYPTO", wallets.GATE, wallets.find),
            (policy.written_emails, "EMAIL_ADDRESS", emails.GATE, find_address),
            (policy.written_emails, "EMAIL_ADDRESS", emails.WRITTEN_GATE, find_written_address),
            (policy.phones, "PHONE_NUMBER", phones.GATE, phones.finder()),
            (policy.context, "US_SSN", ssns.GATE, ssns.find),
        )
        for is_enabled, entity, gate, find in rules:
            if is_enabled and entity in wanted:
                yield self._detector(entity, gate, find)

    def _secret_detectors(self) -> Iterator[GatedDetector]:
        section = self._section.secrets
        if section.find:
            for gate, find in (
                (tokens.GATE, tokens.finder()),
                (tokens.KEY_GATE, tokens.private_keys),
                (passwords.GATE, passwords.passwords),
                (passwords.HEADER_GATE, passwords.headers),
                (passwords.URL_GATE, passwords.url_passwords),
            ):
                yield self._detector(SECRET, gate, find)
            if section.entropy:
                yield self._detector(SECRET, passwords.KEY_GATE, passwords.keyed)
        for rule in gitleaks.load_rules(section.rules_file) if section.rules_file else ():
            yield self._detector(SECRET, rule.gate, rule.find)

    def _custom_detectors(self) -> Iterator[GatedDetector]:
        for i, section in enumerate(self._section.recognizers):
            find = custom.recognizer(section, where=f"scrub.recognizers.{i}.regex")
            yield self._detector(section.entity, None, find)._replace(as_written=True)
        for entity, values in self._section.deny.items():
            if values:
                find = custom.deny_list_finder(entity, values)
                yield self._detector(entity, custom.gate(values), find)._replace(as_written=True)

    def _detector(self, entity: str, gate: str | None, find: Find) -> GatedDetector:
        return GatedDetector(Detector(entity, 1.0, None if gate is None else self._prefilter.add(gate), find))


def _domain_check() -> Callable[[str], bool]:
    extract = stock.offline_suffixes()
    return lambda address: bool(extract(address).fqdn)
