"""A run's tables: registered when it is complete, refused before anything is asked, and never a reason to lose a dataset."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

import synth_ray
from synth_ray.errors import JobError
from synth_ray.job.load import job_from
from synth_ray.lake import register
from synth_ray.route.preflight import preflight
from tests.route.test_route import job

DELTA = {"sinks": [{"format": "delta"}]}


def rows(out: Path) -> int:
    return DeltaTable(f"{out}/data").to_pyarrow_dataset().count_rows()


def test_a_complete_run_is_registered_once_and_told(tmp_path: Path) -> None:
    first = synth_ray.run(job(tmp_path, str(tmp_path / "out"), **DELTA))
    again = synth_ray.run(job(tmp_path, str(tmp_path / "out"), **DELTA))
    assert (first.exit_code, len(first.tables)) == (0, 1)
    assert again.tables[0] == f"{first.tables[0]}, was there already"
    assert rows(tmp_path / "out") == first.manifest["rows"]["accepted"]


def test_a_failed_gate_changes_no_table(tmp_path: Path) -> None:
    result = synth_ray.run(job(tmp_path, str(tmp_path / "out"), gates=["accepted >= 100000"], **DELTA))
    assert (result.exit_code, list(result.tables)) == (3, [])
    assert "no table was changed" in result.problems[-1]
    assert not (tmp_path / "out/data/_delta_log").exists()


def test_a_failure_of_a_table_leaves_the_dataset_published_and_the_next_run_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise JobError("the table: wanted an answer, got none")

    with monkeypatch.context() as patched:
        patched.setattr(register, "register_version", broken)
        result = synth_ray.run(job(tmp_path, str(tmp_path / "out"), **DELTA))
    assert result.exit_code == 1 and "the dataset is published" in result.problems[0]
    assert (tmp_path / "out/manifest.json").exists()
    assert synth_ray.run(job(tmp_path, str(tmp_path / "out"), **DELTA)).exit_code == 0


@pytest.mark.parametrize(("kind", "module"), [("delta", "deltalake"), ("lance", "lance"), ("iceberg", "pyiceberg.catalog")])
def test_a_missing_library_is_told_before_anything_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    sink = {"format": kind} | ({"table": "a.b"} if kind == "iceberg" else {})
    document = job(tmp_path, str(tmp_path / "out"), sinks=[sink])
    for act in (lambda: preflight(job_from(document)), lambda: synth_ray.run(document)):
        with pytest.raises(JobError, match=r"pip install 'synth-ray\[lake\]'"):
            act()
    assert not (tmp_path / "out/_synth/commits").exists()


@pytest.mark.parametrize(
    ("sink", "told"),
    [
        ({"format": "iceberg"}, "wanted namespace.table, got none"),
        ({"format": "iceberg", "table": "plain"}, "wanted namespace.table"),
        ({"format": "delta", "path": "s3://b/x"}, "leave it out"),
        ({"format": "delta", "unknown": 1}, "unknown"),
        ({"format": "lance", "path": "s3://me:word-hidden@b/x"}, "without user or password"),
        ({"format": "iceberg", "table": "a.b", "catalog": {"uri": "postgresql://me:word-hidden@h/db"}}, "without credentials"),
        ({"format": "iceberg", "table": "a.b", "catalog": {"properties": {"s3.secret-access-key": "word-hidden"}}}, "no secret"),
    ],
)
def test_a_sink_that_cannot_work_or_holds_a_secret_is_refused(tmp_path: Path, sink: dict[str, Any], told: str) -> None:
    with pytest.raises(JobError) as error:
        job_from(job(tmp_path, str(tmp_path / "out"), sinks=[sink]))
    assert told in str(error.value) and "word-hidden" not in str(error.value)
