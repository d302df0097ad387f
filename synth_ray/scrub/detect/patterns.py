"""The engine `patterns`: stock Presidio's recognizers on the fast path, the policy's rules on top, and secrets, in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from synth_ray.job.scrub import Scrub
from synth_ray.scrub.detect import cards, context_words, custom, emails, gitleaks, ibans, ips, passwords, phones, tokens, wallets
from synth_ray.scrub.detect.context_words import Cue, boosted
from synth_ray.scrub.findings import Finding
from synth_ray.scrub.presidio import stock
from synth_ray.scrub.presidio.exact import Find, Job, jobs_of, without_duplicates
from synth_ray.scrub.presidio.prefilter import ODD, Gates
from synth_ray.scrub.text_view import Reading, remaining

SECRET = "SECRET"
Accept = Callable[[str, Finding], bool]


class Look(NamedTuple):
    """A job as the policy sees it: what it may keep, and the words without which it stays below its threshold."""

    job: Job
    accept: Accept | None = None
    cue: Cue | None = None
    cue_gate: int | None = None
    waits: bool = False


_COMBINATIONS = 4096  # of gates that a text opens: few are common


class PatternFinder:
    """A `Finder` of structured identifiers and secrets.

    Law: with every rule of the policy off and secrets off, its findings are stock Presidio's. A text is asked for all gates in
    one pass; a text that opens none costs nothing more.
    """

    def __init__(self, section: Scrub) -> None:
        self._section = section
        self._gates = Gates()
        self._analyzer = stock.analyzer()
        known = frozenset(self._analyzer.get_supported_entities(stock.LANGUAGE))
        self.entities = known | {SECRET, *section.deny} | {r.entity for r in section.recognizers}
        wanted = set(section.wanted()) & known
        self._opened_by = lru_cache(_COMBINATIONS)(self._through)
        self._looks = [*self._stock(wanted), *self._own(wanted), *self._secrets(), *self._brought()]

    def find(self, texts: Sequence[str], *, until: float) -> list[list[Finding]]:
        return [self._find(text, until) for text in texts]

    def _find(self, text: str, until: float) -> list[Finding]:
        looks = self._opened(text)
        if not looks:
            return []
        remaining(until)
        reading = Reading(text)
        found = [f for look in looks for f in self._kept(look, reading, until)]
        return without_duplicates(found) if found else found

    def _opened(self, text: str) -> Sequence[Look]:
        if not text.isascii() and ODD.search(text):
            return self._looks
        return self._opened_by(self._gates.fired(text))

    def _through(self, fired: frozenset[int]) -> Sequence[Look]:
        return [
            look
            for look in self._looks
            if (look.job.gate is None or look.job.gate in fired) and (not look.waits or look.cue_gate in fired)
        ]

    def _kept(self, look: Look, reading: Reading, until: float) -> Iterator[Finding]:
        text = reading.text
        for f in look.job.find(reading, until):
            if look.accept is not None and not look.accept(text, f):
                continue
            if look.cue is not None and (look.waits or f.score < self._threshold(f.entity)):
                if look.cue.beside(text, f.start, f.end):
                    f = f._replace(score=boosted(f.score))
                elif f.entity in context_words.NEEDED:
                    continue
            yield f

    def _threshold(self, entity: str) -> float:
        return self._section.thresholds.get(entity, self._section.threshold)

    def _stock(self, wanted: set[str]) -> Iterator[Look]:
        policy = self._section.policy
        replaced = {e for e, on in (("CREDIT_CARD", policy.cards), ("IBAN_CODE", policy.ibans)) if on}
        accepts: dict[str, Accept] = {}
        if policy.phones:
            accepts["PHONE_NUMBER"] = phones.accept
        if policy.public_ips:
            accepts |= {"IP_ADDRESS": ips.public, "MAC_ADDRESS": ips.hardware}
        if policy.written_emails:
            accepts["EMAIL_ADDRESS"] = emails.personal
        worth = phones.worth if policy.phones else None
        for job in jobs_of(self._analyzer, self._gates, entities=wanted - replaced, worth=worth):
            yield self._cued(job, accepts.get(job.entity))

    def _cued(self, job: Job, accept: Accept | None) -> Look:
        context = self._context(job.entity)
        cue = context_words.cue_of(job.entity, context) if self._section.policy.context else None
        if cue is None:
            return Look(job, accept)
        waits = job.entity in context_words.NEEDED or job.best < self._threshold(job.entity)
        return Look(job, accept, cue, self._gates.add(cue.gate) if waits else None, waits)

    def _context(self, entity: str) -> list[str]:
        """Presidio's own context words for the entity."""
        recognizers = self._analyzer.registry.get_recognizers(language=stock.LANGUAGE, all_fields=True)
        return sorted({w.lower() for r in recognizers if entity in r.supported_entities for w in r.context or ()})

    def _own(self, wanted: set[str]) -> Iterator[Look]:
        policy = self._section.policy
        is_domain = _domain_check()
        rules: tuple[tuple[bool, str, str, Find], ...] = (
            (policy.cards, "CREDIT_CARD", cards.GATE, cards.find),
            (policy.ibans, "IBAN_CODE", ibans.GATE, ibans.find),
            (policy.wallets, "CRYPTO", wallets.GATE, wallets.find),
            (policy.written_emails, "EMAIL_ADDRESS", emails.GATE, emails.finder(is_domain)),
            (policy.phones, "PHONE_NUMBER", phones.GATE, phones.finder()),
        )
        for on, entity, gate, find in rules:
            if on and entity in wanted:
                yield self._look(entity, gate, find)

    def _secrets(self) -> Iterator[Look]:
        section = self._section.secrets
        if section.find:
            for gate, find in (
                (tokens.GATE, tokens.finder()),
                (tokens.KEY_GATE, tokens.private_keys),
                (passwords.GATE, passwords.passwords),
                (passwords.HEADER_GATE, passwords.headers),
                (passwords.URL_GATE, passwords.url_passwords),
            ):
                yield self._look(SECRET, gate, find)
            if section.entropy:
                yield self._look(SECRET, passwords.KEY_GATE, passwords.keyed)
        for rule in gitleaks.load_rules(section.rules_file) if section.rules_file else ():
            yield self._look(SECRET, rule.gate, rule.find)

    def _brought(self) -> Iterator[Look]:
        for i, section in enumerate(self._section.recognizers):
            yield self._look(section.entity, None, custom.recognizer(section, where=f"scrub.recognizers.{i}.regex"))
        for entity, values in self._section.deny.items():
            if values:
                yield self._look(entity, custom.gate(values), custom.denied(entity, values))

    def _look(self, entity: str, gate: str | None, find: Find) -> Look:
        return Look(Job(entity, 1.0, None if gate is None else self._gates.add(gate), find))


def _domain_check() -> Callable[[str], bool]:
    extract = stock.offline_suffixes()
    return lambda address: bool(extract(address).fqdn)
