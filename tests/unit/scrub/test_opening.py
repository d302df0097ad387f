"""Fail closed: an entity, model or pattern that cannot work stops the job before it starts."""

from __future__ import annotations

import pytest

from synth_ray.errors import JobError, MissingResource
from synth_ray.job.scrub import Scrub, Secrets
from synth_ray.scrub.detect.patterns import PatternFinder
from synth_ray.scrub.opening import SELF_TEST_TEXTS
from synth_ray.scrub.scrubber import open_scrubber


def test_an_entity_without_a_detector_stops_the_job() -> None:
    with pytest.raises(JobError, match="got PERSON, UNICORN; leave them out"):
        open_scrubber(Scrub(entities=["EMAIL_ADDRESS", "PERSON", "UNICORN"]))


def test_an_entity_that_fails_its_self_test_stops_the_job() -> None:
    with pytest.raises(MissingResource, match="none of MEDICAL_LICENSE"):
        open_scrubber(
            Scrub(entities=["EMAIL_ADDRESS", "MEDICAL_LICENSE"], thresholds={"MEDICAL_LICENSE": 1.0}, allow=["AB1234563"])
        )


def test_every_supported_entity_has_a_self_test_text() -> None:
    assert PatternFinder(Scrub()).entities <= SELF_TEST_TEXTS.keys()


def test_a_broken_regex_stops_the_job() -> None:
    for regex in ("(unclosed", "(?<=a)b"):
        with pytest.raises(ValueError, match=r"wanted a regular expression in RE2 syntax"):
            Scrub(recognizers=[{"entity": "X", "regex": regex}])  # type: ignore[list-item]


def test_a_deny_list_works_without_any_other_entity() -> None:
    scrubber = open_scrubber(Scrub(entities=[], secrets=Secrets(find=False), deny={"CODENAME": ["heron"]}))
    assert scrubber.record("heron and jane@mail.com").value == "<CODENAME_1> and jane@mail.com"
