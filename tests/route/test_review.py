"""People review a sample of a dataset, and a curation leaves out what they rejected."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

import synth_ray
from synth_ray.cli.main import main
from synth_ray.job.load import job_from
from synth_ray.route.curation import curate_job


def document(folder: Path) -> dict[str, Any]:
    words = [f"question {i} about the {'red' if i % 3 else 'blue'} thing, number {i * 7919}" for i in range(60)]
    rows = [{"prompt": text, "label": "red" if i % 3 else "blue"} for i, text in enumerate(words)]
    (folder / "seeds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "name": "reviewed",
        "seeds": str(folder / "seeds.jsonl"),
        "recipe": {"name": "distill", "keep": ["label"]},
        "models": {"teacher": {"engine": "scripted", "script": {"answers": ["=SUM of {{ prompt }}"]}}},
        "split": {"fractions": {"train": 1.0}},
        "output": {"path": str(folder / "out"), "columns": {"label": "string"}},
        "cluster": {"engine": "local"},
    }


def form_rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8-sig"), newline="")))


def write_form(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_a_review_from_the_sample_to_the_curated_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = document(tmp_path)
    accepted = synth_ray.run(job).manifest["rows"]["accepted"]
    form, again = tmp_path / "form.csv", tmp_path / "again.csv"
    for path in (form, again):
        assert main(["sample", job["output"]["path"], "-n", "20", "--to", str(path)]) == 0
    assert form.read_bytes() == again.read_bytes()
    rows = form_rows(form)
    assert {row["class"] for row in rows} == {"red", "blue"} and len(rows) == 20
    assert sum(float(row["weight"]) for row in rows) == pytest.approx(accepted, rel=1e-3)

    for row in rows:
        row["verdict"] = "reject" if row["class"] == "blue" else "accept"
    write_form(form, rows)
    capsys.readouterr()
    gold = tmp_path / "gold.jsonl"
    assert main(["sample", job["output"]["path"], "--verdicts", str(form), str(form), "--gold", str(gold)]) == 0
    told = capsys.readouterr().out
    assert "reviewed  20 rows" in told and "reviewers 20 verdicts in common, 100.0% agree, kappa 1.00" in told
    assert {line["good"] for line in map(json.loads, gold.read_text().splitlines())} == {True, False}

    rejected = sum(row["verdict"] == "reject" for row in rows)
    curated = curate_job(job_from(job | {"review": {"verdicts": str(form)}})).manifest
    assert curated["rows"]["rejected"]["rejected_by_people"] == rejected
    assert curated["rows"]["accepted"] == accepted - rejected
    assert curate_job(job_from(job)).manifest["rows"]["accepted"] == accepted


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--gold", "gold.jsonl"], "--gold: wanted the --verdicts"),
        (["--to", "{foreign}/a/form.csv"], "wanted to write a file here"),
        (["--by", "colour"], "--by: wanted a column"),
        (["--rejected"], "wanted generated rows to review, got none"),
        (["--verdicts", "{foreign}"], "that it does not have"),
        (["--verdicts", "{empty}"], "wanted rows with a verdict, got none"),
    ],
)
def test_what_cannot_be_reviewed_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], wanted: str
) -> None:
    job = document(tmp_path)
    synth_ray.run(job)
    files = {"foreign": "id,verdict\nabc,accept\n", "empty": "id,verdict\nabc,\n"}
    for name, text in files.items():
        (tmp_path / f"{name}.csv").write_text(text)
    given = [argument.format(**{name: tmp_path / f"{name}.csv" for name in files}) for argument in arguments]
    assert main(["sample", job["output"]["path"], *given]) == 2
    assert wanted in capsys.readouterr().err
