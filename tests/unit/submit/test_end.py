"""What the end of a submission means for the submitter: the driver's exit code or, of one that was stopped, its manifest."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from synth_ray.cluster.jobs_api import FAILED, STOPPED, SUCCEEDED, SubmittedJob
from synth_ray.dataset.manifest import Manifest, Rows, Seeds
from synth_ray.submit.submission import end_of
from tests.servers import CREDENTIALS, answering

OWN = "0123abcd" * 4


def stopped(output: str, **metadata: str) -> SubmittedJob:
    return SubmittedJob("billing-1", STOPPED, {"output": output, "job_digest": OWN, **metadata})


def publish(folder: Path, *, complete: bool, digest: str = OWN) -> None:
    manifest = Manifest(
        name="billing",
        job_digest=digest,
        ask_digest=digest,
        dataset_digest=digest,
        complete=complete,
        rows=Rows(requested=0, accepted=0),
        seeds=Seeds(read=0, planned=0),
        splits={},
        files=[],
        created_at="2026-01-01T00:00:00Z",
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json())


@pytest.mark.parametrize(
    ("complete", "digest", "code", "why"),
    [
        (False, OWN, 4, "a partial dataset is published"),
        (True, OWN, 0, "its dataset was complete already"),
        (True, "f" * 32, 1, "before it published anything"),  # an older version, which the run would have replaced
        (None, "", 1, "before it published anything"),
    ],
)
def test_of_a_stopped_driver_the_manifest_tells(tmp_path: Path, complete: bool | None, digest: str, code: int, why: str) -> None:
    if complete is not None:
        publish(tmp_path, complete=complete, digest=digest)
    end = end_of(stopped(str(tmp_path)))
    assert end.exit_code == code
    assert why in end.why


def test_a_manifest_that_this_machine_may_not_read_is_not_taken_for_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(403)

        def log_message(self, *_: object) -> None:
            pass

    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with answering(Refusing) as url:
        end = end_of(stopped("s3://bucket/out", endpoint_url=url))
    assert end.exit_code == 1
    assert "cannot read its manifest" in end.why and "got no permission" in end.why
    (tmp_path / "manifest.json").write_text("{}")
    end = end_of(stopped(str(tmp_path)))
    assert end.exit_code == 1
    assert "wanted a manifest, got one that is wrong at" in end.why


@pytest.mark.parametrize(
    ("status", "driver", "code", "why"),
    [
        (SUCCEEDED, 0, 0, ""),
        (FAILED, 3, 3, ""),
        (FAILED, -9, 1, "killed by signal 9"),
        (FAILED, 127, 127, "--python"),
        (FAILED, None, 1, "the driver never ended by itself"),
    ],
)
def test_a_driver_that_ended_tells_itself(status: str, driver: int | None, code: int, why: str) -> None:
    end = end_of(SubmittedJob("billing-1", status, {}, driver))
    assert end.exit_code == code
    assert why in end.why
    assert bool(why) == bool(end.why)
