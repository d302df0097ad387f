"""Personal data and secrets: what is found, by which engine, and what replaces it."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from synth_ray.job.section import Section, key
from synth_ray.job.texts import Re2Pattern

STRUCTURED = (
    "EMAIL_ADDRESS",
    "PHONE_NUMBER",
    "CREDIT_CARD",
    "IBAN_CODE",
    "US_SSN",
    "US_ITIN",
    "US_PASSPORT",
    "US_BANK_NUMBER",
    "US_DRIVER_LICENSE",
    "UK_NHS",
    "MEDICAL_LICENSE",
    "IP_ADDRESS",
    "MAC_ADDRESS",
    "CRYPTO",
)
"""What patterns find by default. URL, DATE_TIME and UUID are found only when `entities` names them."""

NAMED = ("PERSON", "LOCATION")
"""What a model finds in addition, by default."""

_ENTITY = r"^[A-Z][A-Z0-9_]{0,59}$"


class Policy(Section):
    """Rules on top of the stock recognizers. Each can be switched off; with all off, their findings are unchanged."""

    cards: bool = key(
        True, "A card number needs an issuer's prefix and length and a Luhn digit; newer ranges are included.", changes="stage"
    )
    ibans: bool = key(True, "An IBAN needs its country's length in the registry and valid check digits.", changes="stage")
    wallets: bool = key(True, "Find Ethereum and other wallet addresses in addition to Bitcoin.", changes="stage")
    written_emails: bool = key(True, "Find addresses written as 'jane [at] mail [dot] com'.", changes="stage")
    phones: bool = key(
        True, "A phone number needs separators, a country code or a word such as 'call'; never a bare number.", changes="stage"
    )
    public_ips: bool = key(
        True, "Find only IP addresses that are routed on the internet, and no version numbers.", changes="stage"
    )
    context: bool = key(
        True,
        "Words before a match raise its score when they stand as whole words ('ssn', not 'passn').",
        changes="stage",
    )


class Secrets(Section):
    """Keys, tokens and passwords."""

    find: bool = key(True, "Find secrets with the built-in rules.", changes="stage")
    entropy: bool = key(True, "Find random-looking values beside a word such as 'api_key'.", changes="stage")
    rules_file: str = key("", "A local file of further rules in the gitleaks TOML format.", changes="stage")


class Recognizer(Section):
    """A recognizer that the job adds."""

    entity: str = key(..., "The entity it finds, in capitals.", pattern=_ENTITY, changes="stage")
    regex: Re2Pattern = key(
        ..., "A regular expression in RE2 syntax; its first group, if any, is what is replaced.", changes="stage"
    )
    score: float = key(0.85, "How sure a match is.", ge=0, le=1, changes="stage")
    context: list[str] = key(list, "Words before a match that raise its score by 0.35.", changes="stage")


class Scrub(Section):
    """What is found in a row, and what replaces it. Models are local; nothing is downloaded."""

    engine: Literal["patterns", "spacy", "gliner", "transformers"] = key(
        "patterns", "Patterns alone, or patterns and a local model for names.", changes="stage"
    )
    model: str = key("", "The model's local folder, or an installed spaCy package.", changes="stage")
    labels: dict[str, str] = key(dict, "Maps the model's labels to entities where they differ: {PER: PERSON}.", changes="stage")
    device: str = key("", "Device of the model, as torch names it; empty takes a GPU when there is one.", changes="nothing")
    batch_texts: int = key(32, "Texts the model reads at once.", ge=1, changes="nothing")
    entities: list[str] | None = key(
        None,
        "The entities to find; left out, the structured identifiers and, with a model, PERSON and LOCATION.",
        changes="stage",
    )
    threshold: float = key(0.4, "Findings below this score are dropped.", ge=0, le=1, changes="stage")
    thresholds: dict[str, float] = key(dict, "Thresholds of single entities.", changes="stage")
    policy: Policy = key(Policy, "Rules on top of the stock recognizers.", changes="stage")
    secrets: Secrets = key(Secrets, "Keys, tokens and passwords.", changes="stage")
    allow: list[str] = key(list, "Values that are never replaced, compared without case.", changes="stage")
    deny: dict[str, list[str]] = key(dict, "Values that are always replaced, by entity.", changes="stage")
    recognizers: list[Recognizer] = key(list, "Recognizers of your own.", changes="stage")
    replace: Literal["placeholder", "surrogate", "nothing"] = key(
        "placeholder",
        "What replaces a finding: a placeholder such as <EMAIL_1>, the same within a record; a keyed surrogate, the same in all "
        "jobs that share the key; or nothing: findings are only counted.",
        changes="stage",
    )
    key_env: str = key(
        "SYNTH_RAY_SCRUB_KEY",
        "Environment variable that holds the surrogates' key; the key itself is in no job, log or manifest.",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        changes="stage",
    )
    max_findings: int | None = key(
        None, "Reject a row with more findings than this as too_much_pii; 0 rejects any.", ge=0, changes="stage"
    )
    record_timeout_s: float = key(
        30.0, "Seconds that one record may take; after that it is kept without text, as scrub_failed.", gt=0, changes="stage"
    )
    seeds: bool | Literal["auto"] = key(
        "auto", "Scrub seeds before a teacher sees them; auto does so for a remote teacher.", changes="ask"
    )

    @field_validator("entities")
    @classmethod
    def _distinct(cls, value: list[str] | None) -> list[str] | None:
        if value is not None and len(set(value)) != len(value):
            raise ValueError(f"wanted each entity once, got {len(value)}, {len(set(value))} of them different")
        return value

    @field_validator("thresholds")
    @classmethod
    def _shares(cls, value: dict[str, float]) -> dict[str, float]:
        if not all(0 <= v <= 1 for v in value.values()):
            raise ValueError("wanted thresholds between 0 and 1, got another")
        return value

    @field_validator("allow")
    @classmethod
    def _allowed(cls, value: list[str]) -> list[str]:
        if not all(v.strip() for v in value):
            raise ValueError("wanted words in `allow`, got an empty one")
        return value

    @field_validator("deny")
    @classmethod
    def _denied(cls, value: dict[str, list[str]]) -> dict[str, list[str]]:
        if not all(v.strip() for values in value.values() for v in values):
            raise ValueError("wanted words in `deny`, got an empty one")
        return value

    def entities_to_find(self) -> tuple[str, ...]:
        """The entities to find, sorted, without those that the job's recognizers and deny lists add."""
        named = NAMED if self.engine != "patterns" else ()
        return tuple(sorted(self.entities if self.entities is not None else STRUCTURED + named))
