"""Placeholders, surrogates, edits, limits."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

import pytest

from synth_ray.errors import MissingResource
from synth_ray.job.scrub import Scrub
from synth_ray.records import Reason
from synth_ray.scrub.detect.cards import has_issuer_range
from synth_ray.scrub.findings import ScrubFailed
from synth_ray.scrub.opening import SELF_TEST_TEXTS
from synth_ray.scrub.replace.placeholders import PLACEHOLDER
from synth_ray.scrub.replace.surrogates import SURROGATE, Surrogates
from synth_ray.scrub.scrubber import Scrubber, open_scrubber
from tests.unit.scrub.conftest import KEY

CHAT = {
    "messages": [
        {"role": "user", "content": "I am jane@mail.com, call me on (212) 867-5309."},
        {"role": "assistant", "content": "Noted JANE@MAIL.COM and 212.867.5309; also bob@mail.com."},
    ],
    "meta": {"ssn": "536904399", "tags": ["x", "jane@mail.com"], "n": 3, "none": None},
}


def test_a_value_has_one_placeholder_in_every_string_of_a_record(placeholders: Scrubber) -> None:
    scrubbed = placeholders.record(CHAT)
    assert scrubbed.value["messages"][0]["content"] == "I am <EMAIL_1>, call me on <PHONE_1>."
    assert scrubbed.value["messages"][1]["content"] == "Noted <EMAIL_1> and <PHONE_1>; also <EMAIL_2>."
    assert scrubbed.value["meta"] == {"ssn": "<SSN_1>", "tags": ["x", "<EMAIL_1>"], "n": 3, "none": None}
    assert scrubbed.counts == {"EMAIL_ADDRESS": 4, "PHONE_NUMBER": 2, "US_SSN": 1}


def test_edits_have_old_and_new_spans_and_no_value(placeholders: Scrubber) -> None:
    scrubbed = placeholders.record(CHAT)
    replaced = []
    for path, start, end, new_start, new_end, _ in scrubbed.edits:
        old: Any = CHAT
        new = scrubbed.value
        for step in path:
            old, new = old[step], new[step]
        assert PLACEHOLDER.fullmatch(new[new_start:new_end])
        replaced.append(old[start:end])
    assert sorted(replaced, key=str.lower) == [
        "(212) 867-5309", "212.867.5309", "536904399", "bob@mail.com", "jane@mail.com", "JANE@MAIL.COM", "jane@mail.com",
    ]  # fmt: skip
    assert not any(isinstance(field, str) and "@" in field for edit in scrubbed.edits for field in edit)


def test_a_key_that_is_personal_is_replaced_too(placeholders: Scrubber) -> None:
    assert placeholders.record({"jane@mail.com": "hello"}).value == {"<EMAIL_1>": "hello"}


def test_numbers_are_read_as_the_text_they_would_be(placeholders: Scrubber) -> None:
    record = {
        "phone": 14155550123,
        "ssn": [536904399, 78051120],
        "order": {"card2": 5105105105105100, "mobile_phone": 4155550188.0},
        "ids": [5105105105105100, 1234567890123],
        "year": 2024, "share": 0.25, "ok": True, "none": None, "big": 10**400, "nan": float("inf"), "below": -536904399,
    }  # fmt: skip
    scrubbed = placeholders.record(record)
    assert scrubbed.value == {
        **record,
        "phone": "<PHONE_1>",
        "ssn": ["<SSN_1>", "<SSN_2>"],
        "order": {"card2": "<CARD_1>", "mobile_phone": "<PHONE_2>"},
        "ids": ["<CARD_1>", 1234567890123],
    }
    assert scrubbed.counts == {"CREDIT_CARD": 2, "PHONE_NUMBER": 2, "US_SSN": 2}
    assert placeholders.record(scrubbed.value).counts == {}


def test_a_value_in_full_width_digits_has_the_placeholder_of_its_plain_form(placeholders: Scrubber) -> None:
    assert placeholders.record("ssn 536-90-4399 und ssn ５３６９０４３９９").value == "ssn <SSN_1> und ssn <SSN_1>"


def test_a_placeholder_already_in_the_text_is_not_reused(placeholders: Scrubber) -> None:
    assert placeholders.record("<EMAIL_1> wrote to jane@mail.com").value == "<EMAIL_1> wrote to <EMAIL_2>"


def test_surrogates_are_stable_per_key_and_lie_in_reserved_ranges(surrogates: Scrubber) -> None:
    texts = [
        SELF_TEST_TEXTS[e]
        for e in ("EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE", "US_SSN", "IP_ADDRESS", "MAC_ADDRESS")
    ]
    first, repeated = surrogates.record(texts).value, surrogates.record({"other": list(reversed(texts))}).value
    assert first == list(reversed(repeated["other"]))
    another = open_scrubber(Scrub(replace="surrogate"), environment={"SYNTH_RAY_SCRUB_KEY": "another key for tests"})
    assert all(a != b for a, b in zip(first, another.record(texts).value, strict=True))
    assert all(SURROGATE.search(text) for text in first)
    mail, phone, card, iban, ssn, ip, _ = first
    assert "@example.com " in mail and re.search(r"-555-01\d\d,", phone) and " 000-" in ssn
    assert not has_issuer_range(re.sub(r"\D", "", card)) and " XX00 " in iban
    assert not ipaddress.ip_address(ip.split()[5]).is_global


def test_spellings_of_a_value_share_a_surrogate_and_entities_differ() -> None:
    make = Surrogates(b"0123456789abcdef")
    assert make("EMAIL_ADDRESS", "Jane@Mail.com") == make("EMAIL_ADDRESS", "jane@mail.com ")
    assert make("PERSON", "Jane") != make("SECRET", "Jane")
    assert PLACEHOLDER.fullmatch(make("PERSON", "Jane"))


def test_surrogates_without_a_key_or_with_a_short_one_stop_the_job() -> None:
    for environment in ({}, {"SYNTH_RAY_SCRUB_KEY": "short"}):
        with pytest.raises(MissingResource, match="SYNTH_RAY_SCRUB_KEY") as caught:
            open_scrubber(Scrub(replace="surrogate"), environment=environment)
        assert "short" not in str(caught.value)
    open_scrubber(Scrub(replace="surrogate", key_env="OTHER"), environment={"OTHER": KEY["SYNTH_RAY_SCRUB_KEY"]})


def test_detect_only_counts_and_lists_and_changes_nothing() -> None:
    scrubbed = open_scrubber(Scrub(replace="nothing")).record(CHAT)
    assert scrubbed.value == CHAT
    assert scrubbed.counts == {"EMAIL_ADDRESS": 4, "PHONE_NUMBER": 2, "US_SSN": 1}
    assert all((e.start, e.end) == (e.new_start, e.new_end) for e in scrubbed.edits)


def test_a_record_over_the_limit_is_too_much_pii() -> None:
    scrubber = open_scrubber(Scrub(max_findings=1))
    assert scrubber.record("jane@mail.com").reason is None
    assert scrubber.record("jane@mail.com bob@mail.com").reason is Reason.TOO_MUCH_PII


def test_a_value_nested_too_deep_fails_and_its_error_has_no_text(placeholders: Scrubber) -> None:
    value: object = "jane@mail.com"
    for _ in range(5000):
        value = [value]
    with pytest.raises(ScrubFailed, match="nested too deep") as caught:
        placeholders.record(value)
    assert "jane" not in str(caught.value)
    assert placeholders.records([value, "x"])[0].reason is Reason.SCRUB_FAILED
