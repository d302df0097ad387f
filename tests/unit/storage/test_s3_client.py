"""An environment that boto3 refuses is one line that names the variable, and never its value."""

from __future__ import annotations

from pathlib import Path

import pytest

from synth_ray.errors import JobError
from synth_ray.storage import open_storage

WRONG = [
    ("AWS_PROFILE", "no-such-profile"),
    ("AWS_ENDPOINT_URL_S3", "store.example:9000"),
    ("AWS_ENDPOINT_URL", "ftp://user:hunter2@store.example"),
    ("AWS_DEFAULT_REGION", "us east 7"),
    ("AWS_DEFAULT_REGION", ""),
    ("AWS_STS_REGIONAL_ENDPOINTS", "everywhere"),
    ("AWS_CA_BUNDLE", "/no/such/bundle.pem"),
]


@pytest.fixture(autouse=True)
def _no_profiles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(JobError, match=name) as raised:
        open_storage("s3://bucket/prefix")
    assert "\n" not in str(raised.value)
    assert not value or value not in str(raised.value)


def test_half_a_pair_of_keys_names_the_other_half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    with pytest.raises(JobError, match="AWS_SECRET_ACCESS_KEY"):
        open_storage("s3://bucket/prefix")


def test_a_file_of_profiles_that_is_no_such_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[default\nregion eu\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with pytest.raises(JobError, match=r"config; repair it, or correct AWS_CONFIG_FILE"):
        open_storage("s3://bucket/prefix")


def test_a_wrong_region_of_the_job_names_its_key() -> None:
    with pytest.raises(JobError, match=r"output\.region"):
        open_storage("s3://bucket/prefix", region="us east 7")


def test_an_endpoint_of_a_profile_is_traced_to_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[default]\nendpoint_url = store.example:9000\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with pytest.raises(JobError, match=r"endpoint_url.*config"):
        open_storage("s3://bucket/prefix")
