"""Reading a job's file: every fault is one error with its line, whatever the bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synth_ray.errors import JobError
from synth_ray.job.load import load_job

JOB = "name: n\nseeds: s.jsonl\nrecipe: distill\nmodels: {teacher: {engine: scripted}}\noutput: out\n"


def error_of(path: Path, content: str | bytes, **overrides: Any) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(JobError) as caught:
        load_job(path, overrides=overrides)
    return str(caught.value).replace(f"{path}", "job.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "job.yaml:1: (file): wanted a mapping of sections, got an empty one"),
        ("# only this\n", "got an empty one"),
        ("- name: n\n", "got a list"),
        ("distill\n", "got a single value"),
        (b"\x89PNG\r\n\x1a\n\x00", "wanted UTF-8 text, got other bytes"),
        (b"name: \x00\n", "valid YAML, got special characters"),
        (JOB.encode("utf-16"), "wanted UTF-8 text"),
        ("name: n\nplan:\n\tseed: 1\n", "job.yaml:3: (file): wanted valid YAML, got found character '\\t'"),
        (f"{JOB}plan: {{seed: 1, seed: 2}}\n", "job.yaml:6: (file): wanted valid YAML, got key 'seed' is given twice"),
        (f"{JOB}---\n{JOB}", "another document"),
        (f"{JOB}plan: *of\n", "job.yaml:6: (file): wanted valid YAML, got found undefined alias 'of'"),
        (f"{JOB}plan: &of {{seed: *of}}\n", "an anchor that contains itself"),
        (f"{JOB}plan: {{? [a, b] : 1}}\n", "a key that is a list"),
        (f"{JOB}description: 2024-02-31\n", "job.yaml:6: (file): wanted valid YAML, got '2024-02-31', which is no timestamp"),
        (f"{JOB}plan: {{seed: {'9' * 5000}}}\n", "which is no int"),
        (f"{JOB}plan: !!python/name:os.system\n", "could not determine a constructor"),
        (f"{JOB}plan: {'[' * 4000}{']' * 4000}\n", "YAML of some hundred levels"),
        (f"{JOB}12: x\n", "wanted a key that is text"),
        (f"{JOB}dedup:\n", "job.yaml:6: dedup: wanted a mapping of keys, got nothing behind it"),
        (f"{JOB}split: {{fractions: {{train: .nan}}}}\n", "split.fractions.train: wanted a finite number, got nan"),
        (f"{JOB}limits: {{request_deadline_s: .inf}}\n", "limits.request_deadline_s: wanted a finite number, got inf"),
        (f"{JOB}check: {{labels: yes}}\n", "check.labels: wanted a list, as [a, b], got True"),
    ],
)
def test_a_file_that_is_no_job_is_told_in_one_line(tmp_path: Path, content: str | bytes, message: str) -> None:
    error = error_of(tmp_path / "job.yaml", content)
    assert message in error and "\n" not in error


def test_nested_anchors_that_stand_for_billions_of_values_are_refused_before_they_are_made(tmp_path: Path) -> None:
    lines = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    error = error_of(tmp_path / "job.yaml", "\n".join(["a0: &a0 [x]", *lines]))
    assert "anchors that stand for more" in error


def test_anchors_merges_and_a_byte_order_mark_are_plain_yaml(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    text = JOB.replace("recipe: distill", "recipe: {name: distill, keep: &few [a, b]}")
    path.write_text(f"{text}dedup: &d {{threshold: 0.7, mask: *few}}\nlimits: {{<<: {{journal_flush_s: 2}}}}\n", "utf-8-sig")
    job = load_job(path)
    assert (job.dedup.mask, job.limits.journal_flush_s) == (["a", "b"], 2)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("yes", "check.labels.1: wanted text, got True, which YAML makes of yes, on and true; quote it"),
        ("off", "got False, which YAML makes of no, off and false; quote it"),
        ("7", "got 7, which YAML takes for a number; quote it"),
        ("1.5", "got 1.5, which YAML takes for a number"),
        ("2024-01-31", "got 2024-01-31, which YAML takes for a date; quote it"),
        ("null", "got null, which YAML makes of null"),
        ("[x]", "got a list"),
        ("Refund", "wanted each label once, got 'Refund' and 'refund', which differ in case or space alone"),
        ("' refund '", "differ in case or space alone"),
        ("refund", "got 'refund' twice"),
        ("' '", "got a blank one"),
    ],
)
def test_labels_are_different_texts(tmp_path: Path, value: str, message: str) -> None:
    assert message in error_of(tmp_path / "job.yaml", f"{JOB}check:\n  labels: [refund, {value}]\n")


@pytest.mark.parametrize("key", ["dedup.mask", "scrub.allow", "sampling.stop", "dedup.compares", "output.partition_by"])
def test_every_list_of_texts_says_what_yaml_made_of_a_word(tmp_path: Path, key: str) -> None:
    value = {"kind": [True]} if key == "output.partition_by" else [True]
    assert "wanted text, got True, which YAML makes of yes" in error_of(tmp_path / "job.yaml", JOB, **{key: value})


@pytest.mark.parametrize(
    ("section", "messages"),
    [
        ("check: {pattern: '(a'}", ["check.pattern: wanted a regular expression, got '(a'", "at position 0"]),
        ("check: {refusals: [ok, '[a-']}", ["check.refusals: wanted a regular expression, got '[a-'", "position 0"]),
        ("check: {refusals: ['(?i)no']}", ["check.refusals: wanted regular expressions that stand beside others, got '(?i)no'"]),
        ("check: {refusals: ['(?P<a>x)', '(?P<a>y)']}", ["got all of them: redefinition of group name"]),
        ("scrub: {recognizers: [{entity: CODE, regex: '(?=a)'}]}", ["scrub.recognizers.0.regex", "RE2", "'(?=a)'"]),
    ],
)
def test_a_pattern_that_does_not_compile_is_named_with_its_key(tmp_path: Path, section: str, messages: list[str]) -> None:
    error = error_of(tmp_path / "job.yaml", f"{JOB}{section}\n")
    assert all(message in error for message in messages), error


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=80) | st.text(st.sampled_from("ab:-[]{}&*!?|>'\"#\n\t 01"), max_size=40).map(str.encode))
def test_any_bytes_are_a_job_error(tmp_path: Path, content: bytes) -> None:
    error_of(tmp_path / "job.yaml", content)
