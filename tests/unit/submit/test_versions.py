"""The versions of submitter, driver and head must agree."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from synth_ray.cli.cluster_address import address_of_environment
from synth_ray.cli.main import main
from synth_ray.errors import JobError
from synth_ray.submit.versions import refuse_other_ray, refuse_other_version
from synth_ray.version import __version__


def test_a_driver_of_another_version_ends_before_it_reads_the_job(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SYNTH_RAY_SUBMITTED_BY", "9.9.9")
    assert main(["run", "no-such-job.yaml"]) == 2
    assert f"submit: wanted synth_ray 9.9.9 on the cluster, as on the machine that submitted, got {__version__}" in (
        capsys.readouterr().err
    )
    refuse_other_version({"SYNTH_RAY_SUBMITTED_BY": __version__})
    refuse_other_version({})


def test_the_package_and_its_metadata_have_one_version() -> None:
    assert __version__ == version("synth-ray")


def test_a_head_with_another_ray_is_refused() -> None:
    refuse_other_ray(version("ray"), address="http://h:8265")
    with pytest.raises(JobError, match=r"got 2\.40\.0; use an image with Ray"):
        refuse_other_ray("2.40.0", address="http://h:8265")


def test_the_address_comes_from_rays_variables_where_they_are_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_ADDRESS", "http://head:8265")
    assert address_of_environment() == "http://head:8265"
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "https://other")
    assert address_of_environment() == "https://other"
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS")
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    with pytest.raises(JobError, match="--address: wanted the Ray head's dashboard"):
        address_of_environment()
