"""What a run says of its tables: which exit code, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from synth_ray.cli.result import print_result
from synth_ray.errors import JobError, StorageError
from synth_ray.job.document import Job
from synth_ray.lake.register import check_sinks
from synth_ray.route import tables
from synth_ray.route.ending import Result
from synth_ray.storage import open_storage
from tests.published import make_dataset
from tests.servers import free_port


def job_with(output: str, **sink: Any) -> Job:
    document: dict[str, Any] = {
        "name": "a",
        "recipe": {"name": "distill"},
        "seeds": "seeds.jsonl",
        "output": output,
        "sinks": [sink],
    }
    return Job.model_validate(document | {"models": {"teacher": {"engine": "scripted", "model": "a"}}})


def down() -> dict[str, Any]:
    return {"format": "iceberg", "table": "a.b", "catalog": {"type": "rest", "uri": f"http://127.0.0.1:{free_port()}"}}


def test_a_catalog_that_is_down_is_no_fault_of_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_with(str(tmp_path / "out"), **down())
    (problem,) = check_sinks(job, pa.schema([("id", pa.string())]))
    assert type(problem) is StorageError and str(problem).startswith("sinks.0: ")
    wrong = job_with(str(tmp_path / "a%b"), format="delta")
    assert [type(p) for p in check_sinks(wrong, pa.schema([("id", pa.string())]))] == [JobError]
    monkeypatch.setattr(tables, "sink_problems", lambda _: [problem])
    with pytest.raises(StorageError):
        tables.refuse_bad_sinks(object())  # type: ignore[arg-type]


@pytest.mark.parametrize(("before", "after"), [(0, 1), (4, 4)])
def test_a_failed_table_keeps_the_exit_code_and_the_cause_of_a_run_that_stopped_short(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], before: int, after: int
) -> None:
    storage = open_storage(str(tmp_path / "out"))
    manifest = make_dataset(storage, job_with("x", format="delta").output)
    facts = storage.read("manifest.json")
    result = Result(str(tmp_path / "out"), json.loads(facts), stopped="its budget" if before else "", exit_code=before)
    job = job_with(str(tmp_path / "out"), partial=True, **down())
    with_tables = tables.with_tables(result, job, storage, manifest)
    assert with_tables.exit_code == after
    assert print_result(with_tables, stopped="stopped by {why}", in_json=True) == after
    said = "".join(capsys.readouterr())
    assert ("stopped by its budget" in said) == bool(before) and "see that the table can be reached" in said
