"""Secrets: tokens of known form, values after words such as `password`, and rules of the job's own file."""

from __future__ import annotations

from pathlib import Path

import pytest

from synth_ray.errors import JobError, MissingResource
from synth_ray.job.scrub import Scrub, Secrets
from synth_ray.scrub.detect.patterns import PatternFinder
from synth_ray.scrub.scrubber import open_scrubber

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"
KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA75\nabcdefghijklmnopqrstuvwxyzABCDEF\n-----END RSA PRIVATE KEY-----"
RULES = """
title = "rules of our own"
[[rules]]
id = "badge-token"
regex = '''bdg_([a-z0-9]{10})'''
secretGroup = 1
entropy = 2.0
keywords = ["bdg_"]
[[rules.allowlists]]
stopwords = ["test"]
[[rules]]
id = "about a path alone"
path = '''secret\\.txt'''
[allowlist]
regexes = ['''ignored000''']
"""


def secrets(text: str, **section: object) -> list[str]:
    finder = PatternFinder(Scrub(entities=[], secrets=Secrets(**section)))  # type: ignore[arg-type]
    return [text[f.start : f.end] for f in sorted(finder.find([text], deadline=1e18)[0], key=lambda f: f.start)]


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("aws AKIAIOSFODNN7EXAMPLE here", "AKIAIOSFODNN7EXAMPLE"),
        ("push with ghp_16C7e42F292c6912E7710c838347Ae178B4a", "ghp_16C7e42F292c6912E7710c838347Ae178B4a"),
        (f"token {JWT}", JWT),
        (f"key:\n{KEY}\nthanks", KEY),
        ("postgres://app:s3cr3tpw@db:5432/x", "s3cr3tpw"),
        ("Server=db;User Id=sa;Password=Kj8#mmQ2;", "Kj8#mmQ2"),
        ("Authorization: Bearer mF_9.B5f-4.1JqM7aZ", "mF_9.B5f-4.1JqM7aZ"),
        ("my password is hunter2 ok", "hunter2"),
        ("API_KEY=9f86d081884c7d659a2feaa0c55ad015", "9f86d081884c7d659a2feaa0c55ad015"),
        ("bot 1234567890:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw4", "1234567890:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw4"),
    ],
)
def test_secrets_are_found_whole(text: str, secret: str) -> None:
    assert secrets(text) == [secret]


@pytest.mark.parametrize(
    "text",
    [
        "password: <your password>",
        "password = os.environ['PW']",
        "api_key = YOUR_API_KEY_HERE",
        "the password is required",
        "commit 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b",
        "max_tokens = 4096 and the key idea is simple",
        "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0B\n-----END PUBLIC KEY-----",
        "primary_key: user_account_identifier_2",
    ],
)
def test_placeholders_for_secrets_are_not_findings(text: str) -> None:
    assert secrets(text) == []


def test_secrets_and_entropy_can_be_switched_off() -> None:
    text = "API_KEY=9f86d081884c7d659a2feaa0c55ad015 my password is hunter2"
    assert secrets(text, entropy=False) == ["hunter2"]
    assert secrets(text, find=False) == []


def test_rules_in_the_gitleaks_format_are_applied(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(RULES)
    text = "bdg_a1b2c3d4e5 é bdg_f6g7h8i9j0 bdg_aaaaaaaaaa bdg_testa1b2c3 bdg_ignored000"
    assert secrets(text, find=False, rules_file=str(file)) == ["a1b2c3d4e5", "f6g7h8i9j0"]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("rules = 3", "wanted"),
        ("not toml [", "TOMLDecodeError"),
        ("[[rules]]\nid = 'x'\nregex = '''(?=a)b'''", "RE2 expression in 'x'"),
        ("[[rules]]\nid = 'x'\nregex = 'a'\nsecretGroup = 2", "secretGroup"),
        ("[[rules]]\nid = 'x'\nregex = 'a'\nentropy = 'high'", "another type"),
        ("[[rules]]\nid = 'x'\npath = 'a'", "1 without"),
        ("[extend]\nuseDefault = true\n[[rules]]\nid='x'\nregex='a'", "stands alone"),
    ],
)
def test_a_bad_rules_file_stops_the_job(tmp_path: Path, rules: str, message: str) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(rules)
    with pytest.raises(JobError, match=r"scrub\.secrets\.rules_file") as refused:
        open_scrubber(Scrub(secrets=Secrets(rules_file=str(file))))
    assert message in str(refused.value)


def test_an_absent_rules_file_stops_the_job() -> None:
    with pytest.raises(MissingResource, match="got none at"):
        open_scrubber(Scrub(secrets=Secrets(rules_file="/nowhere/rules.toml")))
