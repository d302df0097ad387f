"""How a run ends: a run that answers nothing never looks done, and gates decide over what was published."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

import synth_ray
from synth_ray.errors import JobError
from synth_ray.job.load import job_from
from synth_ray.route.curation import curate_job
from tests.route.test_route import job


def scripted(folder: Path, requests: int, script: dict[str, Any], **more: Any) -> dict[str, Any]:
    plan = {"requests": requests, "chunk_requests": 40}
    return job(folder, str(folder / "out"), models={"teacher": {"engine": "scripted", "script": script}}, plan=plan, **more)


@pytest.mark.parametrize(("requests", "complete"), [(6, True), (300, False)])
def test_when_every_slot_fails_the_exit_code_is_1_and_the_commonest_cause_is_said(
    tmp_path: Path, requests: int, complete: bool
) -> None:
    document = scripted(tmp_path, requests, {"fail_share": 1.0})
    result = synth_ray.run(document)
    assert (result.exit_code, result.manifest["complete"]) == (1, complete)
    [problem] = result.problems
    assert "engine_error (told to by script.fail_share)" in problem
    assert synth_ray.run(document).exit_code == 1


def test_without_an_accepted_row_the_built_in_gate_fails_unless_the_job_lowers_it(tmp_path: Path) -> None:
    document = scripted(tmp_path, 30, {"words": 1, "vocabulary": 2}, check={"min_tokens": 20})
    result = synth_ray.run(document)
    assert (result.exit_code, result.stopped, result.manifest["rows"]["accepted"]) == (3, "", 0)
    assert "wanted accepted >= 1, got 0; the dataset is published: most rejected rows are too_few_tokens" in result.problems[0]
    assert curate_job(job_from(document)).exit_code == 3
    assert synth_ray.run({**document, "gates": ["accepted >= 0"]}).exit_code == 0


def test_each_gate_that_fails_is_told(tmp_path: Path) -> None:
    gates = ["accepted_share >= 0.99", "rows.failed.deadline == 0", "rows.rejected.exact_duplicate < 1e6", "no.such.number > 1"]
    result = synth_ray.run(scripted(tmp_path, 60, {"truncate_share": 0.5}, gates=gates))
    assert result.exit_code == 3
    assert [problem.split(";")[0].split(", got")[0] for problem in result.problems] == [
        "gate failed: wanted accepted_share >= 0.99",
        "gate failed: wanted no.such.number > 1",
    ]


@pytest.mark.parametrize("gate", ["accepted", "accepted >= many", "accepted => 3", "accepted >= 1; drop"])
def test_a_gate_of_another_form_is_refused_with_the_job(tmp_path: Path, gate: str) -> None:
    with pytest.raises(JobError, match="gates"):
        job_from(scripted(tmp_path, 6, {}, gates=[gate]))


def test_an_empty_dataset_loads_with_its_columns_and_so_do_its_rejected_rows(tmp_path: Path) -> None:
    synth_ray.run(scripted(tmp_path, 6, {"empty_share": 1.0}))
    out = tmp_path / "out"
    [part] = out.glob("data/**/*.parquet")
    assert "completion" in duckdb.read_parquet(str(part)).columns
    assert pl.read_parquet(part).shape[0] == 0
    load = "import datasets, sys\n" + "".join(
        f"print(sum(1 for _ in datasets.load_dataset(sys.argv[1], {name!r}, streaming=True)[{split!r}]))\n"
        for name, split in (("default", "train"), ("rejected", "rejected"))
    )
    done = subprocess.run(
        [sys.executable, "-c", load, str(out)],
        capture_output=True,
        text=True,
        check=True,
        env={"HF_HUB_OFFLINE": "1", "PATH": "/usr/bin"},
    )
    assert done.stdout.split() == ["0", "12"]
