"""Plain words for what the manifest names: reasons, stages, measures, units, kinds of personal data.

A name that is not here is shown as it is, with spaces for underscores, so a page never fails at a new one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from synth_ray.records import Reason, Verdict, verdict_of
from synth_ray.report.plain_words import plain_words
from synth_ray.report.reason_entry import Entry, Stage
from synth_ray.report.reasons import ENTRIES

STAGES: Mapping[Stage, tuple[str, str]] = {
    "ask": ("Answered", "The teacher was asked, and gave an answer."),
    "recipe": ("Made into a row", "The recipe made a row of the answer."),
    "check": (
        "Passed the checks",
        "The answer is whole, long enough, in the right language and form, and true as far as checked.",
    ),
    "scrub": ("Scrubbed", "Personal data was found and replaced."),
    "admit": ("Accepted", "The row is new: no kept row, other split or evaluation set has it, and there was room for it."),
}
"""The stages of a row in their order: what has come through, and what that means."""

MEASURES: Mapping[str, str] = {
    "compression": "Compressibility",
    "distinct_1": "Different words",
    "distinct_2": "Different word pairs",
    "distinct_3": "Different runs of three words",
    "distinct_4": "Different runs of four words",
    "entropy_1": "Variety of words",
    "entropy_2": "Variety of word pairs",
    "openers": "Same openings",
    "templates": "Same frames",
    "repeats": "Repeated rows",
    "long_runs": "Long runs of words repeated",
    "vocabulary": "Vocabulary",
    "lengths": "Lengths",
    "vendi": "Different meanings",
    "clusters": "Balance of topics",
    "coverage": "Topics covered",
    "mauve": "Overall likeness",
}
"""Name of each measure of narrowing. Its meaning is in the manifest."""

REFERENCES: Mapping[str, str] = {
    "quality.reference": "real rows that the job names for comparison",
    "split.real": "the real rows that the job keeps for evaluation",
    "mix.real": "the real rows that are mixed into the dataset",
    "seeds": "the seeds themselves, as the job names no other real rows: likeness to them is partly built in",
}

UNITS: Mapping[str, str] = {
    "accepted": "rows accepted",
    "accepted_share": "share of rows accepted",
    "usd": "dollars, all runs together",
    "usd_per_1m_output_tokens": "$ per million tokens written",
    "usd_per_1k_accepted": "$ per 1,000 accepted rows",
    "wall_s": "wall time of the last run",
    "replica_s": "time that engines were held, all runs together",
    "start_s": "of that, starting them",
    "runs": "runs so far",
    "seconds": "time",
    "hours": "hours",
    "prompt": "tokens read",
    "completion": "tokens written",
    "cached": "tokens read from the cache",
    "reasoning": "tokens written as thoughts",
    "estimated": "of these, estimated tokens",
    "prompt_tokens": "tokens read",
    "completion_tokens": "tokens written",
    "first_replica_s": "until the first engine was ready",
    "first_answer_s": "until the first answer",
    "tail_s": "waiting for the last answers",
    "requests_s": "requests per second",
    "in_flight_mean": "requests in flight, on average",
    "window_bound_share": "share of the time in which admission held the run back",
}

ENTITIES: Mapping[str, str] = {
    "EMAIL_ADDRESS": "e-mail addresses",
    "PHONE_NUMBER": "phone numbers",
    "CREDIT_CARD": "credit card numbers",
    "IBAN_CODE": "bank accounts (IBAN)",
    "IP_ADDRESS": "IP addresses",
    "US_SSN": "US social security numbers",
    "URL": "web addresses",
    "PERSON": "names of people",
    "LOCATION": "places",
    "DATE_TIME": "dates and times",
    "CRYPTO": "crypto wallets",
}

GROUPS: Mapping[str, str] = {"synthetic": "generated rows", "real": "real rows"}
DIMENSIONS: Mapping[str, str] = {"split": "split", "class": "class", "teacher": "teacher", "recipe": "recipe"}
VERDICTS: Mapping[str, str] = {"accepted": "accepted", "rejected": "rejected", "failed": "failed"}

LIMITS: Mapping[str, str] = {
    "dedup.threshold": "similarity from which a row is a near duplicate",
    "dedup.semantic.threshold": "similarity of meaning from which a row is a duplicate",
    "check.judge.min_score": "lowest score of the judge that passes",
    "check.min_tokens": "fewest tokens of an answer",
    "check.max_tokens": "most tokens of an answer",
    "check.max_repetition": "largest share of an answer that may be repetition",
    "check.echo": "likeness to the prompt from which an answer is an echo",
    "check.min_support": "lowest support by the passage",
    "decontaminate.coverage": "share of an evaluation text that may be quoted",
}


def spaced(name: str) -> str:
    return str(name).replace("_", " ")


def reason_title(reason: str) -> str:
    words = plain_words(reason) if reason in _KNOWN else spaced(reason)
    return words[:1].upper() + words[1:]


def reason_entry(reason: str) -> Entry | None:
    """What is known of a reason; None for one of another version."""
    return ENTRIES[Reason(reason)] if reason in _KNOWN else None


def verdict_word(reason: str | None) -> str:
    """The verdict on a row by its reason; a reason of another version is one to reject."""
    if not reason:
        return Verdict.ACCEPTED.value
    return verdict_of(Reason(reason)).value if reason in _KNOWN else Verdict.REJECTED.value


def without_codes(text: str) -> str:
    """A detail as people read it: names of reasons in plain words."""
    return _CODES.sub(lambda match: spaced(match[0]), text)


def unit(name: str) -> str:
    return UNITS.get(name, spaced(name))


def entity(name: str) -> str:
    return ENTITIES.get(name, spaced(name).lower())


def reference(source: str) -> str:
    return REFERENCES.get(source, source)


_KNOWN = {reason.value for reason in Reason}
_CODES = re.compile(r"\b(" + "|".join(sorted(name for name in _KNOWN if "_" in name)) + r")\b")
