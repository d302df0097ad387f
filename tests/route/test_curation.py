"""Curation: another version from the same chunks, equal to a fresh run of the changed job, without asking."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from synth_ray.cli.main import main
from synth_ray.dataset.ledger import JOB
from synth_ray.errors import JobError
from synth_ray.job.load import job_from
from synth_ray.meter.tally import Tally
from synth_ray.route.curation import curate_job
from synth_ray.storage import open_storage
from synth_ray.workers.row_stages import RowStages
from tests.route.test_growth import commits
from tests.route.test_route import job

import synth_ray  # isort: skip

PLAN = {"plan": {"requests": 120, "chunk_requests": 40, "window_chunks": 3}}


def small_job(folder: Path, name: str = "out", **more: Any) -> dict[str, Any]:
    return job(folder, str(folder / name), **PLAN, **more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("curation")
    synth_ray.run(small_job(folder))
    return folder


CHANGES: dict[str, dict[str, Any]] = {
    "another policy": {"check": {"drop": ["truncated"]}},
    "no policy": {"check": {"drop": []}},
    "another threshold": {"dedup": {"compares": ["prompt"], "threshold": 0.1}},
    "another check": {"check": {"min_tokens": 20}},
    "a verifier": {"check": {"verify": "regex", "pattern": "(?s).*[aeiou]\\.?"}},
    "other fingerprints": {"dedup": {"compares": ["completion"], "bands": 16, "rows_per_band": 4, "permutations": 64}},
}


REAL = [{"prompt": f"A real matter of its own, {n * 7919 % 1009}", "answer": f"What people said of it, {n}"} for n in range(12)]


@pytest.mark.parametrize("change", ["mix", "split", "decontaminate"])
def test_real_rows_and_evaluation_sets_are_added_without_asking(folder: Path, tmp_path: Path, change: str) -> None:
    file = tmp_path / "real.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in REAL))
    sections = {"mix": {"real": str(file)}, "split": {"real": str(file)}}
    sections["decontaminate"] = {"against": [{"name": "real", "path": str(file)}]}
    before = commits(folder)
    curated = curate_job(job_from(small_job(folder, **{change: sections[change]}))).manifest
    assert commits(folder) == before
    fresh = synth_ray.run(small_job(folder, f"fresh {change}", **{change: sections[change]})).manifest
    assert (curated["rows"], curated["ask_digest"], curated["job_digest"]) == tuple(
        fresh[name] for name in ("rows", "ask_digest", "job_digest")
    )
    assert curated["dataset_digest"] == fresh["dataset_digest"]
    file.write_text("".join(json.dumps(row) + "\n" for row in REAL[1:]))
    other = curate_job(job_from(small_job(folder, **{change: sections[change]}))).manifest
    assert (other["ask_digest"], other["job_digest"] == curated["job_digest"]) == (curated["ask_digest"], False)
    assert curate_job(job_from(small_job(folder))).manifest["complete"]


def test_real_rows_that_move_seeds_to_another_split_are_another_run(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "real.jsonl"
    near = [json.dumps({"prompt": f"Question {i} about the {i % 7}th thing?", "answer": "so"}) for i in range(6)]
    file.write_text("\n".join(near))
    with pytest.raises(JobError, match="the seeds or the plan differ"):
        curate_job(job_from(small_job(folder, split={"real": str(file)})))


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_curation_equals_a_fresh_run_of_the_changed_job(folder: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    before = commits(folder)
    curated = curate_job(job_from(small_job(folder, **change))).manifest
    assert commits(folder) == before
    fresh = synth_ray.run(small_job(folder, f"fresh {tmp_path.name}", **change)).manifest
    assert (curated["rows"], curated["splits"]) == (fresh["rows"], fresh["splits"])
    assert curated["job_digest"] == fresh["job_digest"]
    assert curated["dataset_digest"] == fresh["dataset_digest"]
    store = open_storage(str(folder / "out"))
    assert all(store.etag(file["path"]) for file in [*curated["files"], *curated["rejected_files"]])
    assert curate_job(job_from(small_job(folder))).manifest["complete"]


def test_a_check_is_switched_off_from_the_command_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import yaml

    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(small_job(folder, check={"verify": "regex", "pattern": "never"})))
    assert main(["curate", str(file)]) == 3
    assert "not_true" in capsys.readouterr().out
    assert main(["curate", str(file), "--set", "check.verify=none"]) == 0
    assert "not_true" not in capsys.readouterr().out


def test_a_wider_scrub_finds_more_and_a_looser_one_is_refused(tmp_path: Path) -> None:
    script = {"answers": ["write to jo.doe@mail.com or call (718) 784-4104 about {{ prompt }}"]}
    models = {"teacher": {"engine": "scripted", "script": script}}
    narrow = {"entities": ["EMAIL_ADDRESS"]}
    first = synth_ray.run(small_job(tmp_path, models=models, scrub=narrow)).manifest
    assert set(first["pii"]) == {"EMAIL_ADDRESS"}
    wide = {"entities": ["EMAIL_ADDRESS", "PHONE_NUMBER"]}
    second = curate_job(job_from(small_job(tmp_path, models=models, scrub=wide))).manifest
    assert second["pii"]["EMAIL_ADDRESS"] == first["pii"]["EMAIL_ADDRESS"]
    assert second["pii"]["PHONE_NUMBER"] > 0
    strict = curate_job(job_from(small_job(tmp_path, models=models, scrub={**wide, "max_findings": 0}))).manifest
    assert strict["rows"]["rejected"]["too_much_pii"] > 0
    for looser in ({"entities": ["PHONE_NUMBER"]}, {**wide, "replace": "nothing"}, {**wide, "allow": ["jo.doe@mail.com"]}):
        with pytest.raises(JobError, match="wanted a scrub that finds at least what the staged chunks' own did"):
            curate_job(job_from(small_job(tmp_path, models=models, scrub=looser)))


def test_a_job_with_other_prompts_and_an_empty_output_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"sampling\.temperature \(was 0\.8, is 0\.1\)"):
        curate_job(job_from(small_job(folder, sampling={"temperature": 0.1})))
    with pytest.raises(JobError, match="wanted the chunks of a run, got none"):
        curate_job(job_from(small_job(tmp_path)))
    with pytest.raises(JobError, match="`synth-ray curate` decides again"):
        synth_ray.run(small_job(folder, check={"min_tokens": 20}))


def test_an_interrupted_curation_leaves_the_previous_version(folder: Path) -> None:
    store = open_storage(str(folder / "out"))
    before = store.read("manifest.json")

    def crash(_: Tally) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        curate_job(job_from(small_job(folder, check={"drop": []})), watch=crash)
    assert store.read("manifest.json") == before


def test_curation_of_a_stopped_run_publishes_its_committed_chunks_as_incomplete(tmp_path: Path) -> None:
    def stop_after_first_chunk(tally: Tally) -> None:
        if tally.chunks_admitted:
            signal.raise_signal(signal.SIGTERM)

    one_by_one = job(tmp_path, str(tmp_path / "out"), plan={**PLAN["plan"], "window_chunks": 1})
    short = synth_ray.run(one_by_one, watch=stop_after_first_chunk)
    assert (short.stopped, short.manifest["rows"]["requested"]) == ("got SIGTERM", 80)
    assert "stopped by a signal" in short.manifest["reference"]["not_measured"]
    curated = curate_job(job_from(small_job(tmp_path, check={"drop": []})))
    assert curated.stopped == short.stopped
    assert not curated.manifest["complete"]


def test_an_interrupted_extension_stays_incomplete_after_curation(tmp_path: Path) -> None:
    def longer_job(requests: int) -> dict[str, Any]:
        return job(tmp_path, str(tmp_path / "out"), plan={"requests": requests, "chunk_requests": 40, "window_chunks": 3})

    assert synth_ray.run(longer_job(80)).manifest["complete"]
    store = open_storage(str(tmp_path / "out"))
    shorter = store.read("manifest.json")
    synth_ray.run(longer_job(160), extend=True)
    store.write("manifest.json", shorter)
    store.delete("_synth/commits/00000003.json")
    curated = curate_job(job_from(longer_job(160)))
    assert curated.manifest["rows"]["requested"] == 240
    assert not curated.manifest["complete"]
    assert curated.stopped == "curated before its run had ended"


def test_a_program_with_another_plan_neither_resumes_nor_curates(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    monkeypatch.setattr("synth_ray.plan.chunks._GOLDEN", np.uint64(0x9E3779B97F4A7C17))
    for resume in (lambda: synth_ray.run(small_job(folder)), lambda: curate_job(job_from(small_job(folder)))):
        with pytest.raises(JobError, match="chunk 0: wanted the plan of its commit record"):
            resume()


def test_chunks_with_another_normal_form_are_not_resumed_and_curate_makes_theirs_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = synth_ray.run(small_job(tmp_path)).manifest
    store = open_storage(str(tmp_path / "out"))
    pinned = json.loads(store.read(JOB))
    pinned["keys"]["dedup.normal_form"] = 1
    store.write(JOB, json.dumps(pinned).encode())
    with pytest.raises(JobError, match=r"dedup.normal_form \(was 1, is 2\)"):
        synth_ray.run(small_job(tmp_path))
    restaged: list[int] = []
    run_again = RowStages.run_again

    def counted(stages: RowStages, table: pa.Table) -> pa.Table:
        restaged.append(table.num_rows)
        return run_again(stages, table)

    monkeypatch.setattr(RowStages, "run_again", counted)
    curated = curate_job(job_from(small_job(tmp_path))).manifest
    # every chunk, and once more the few kept rows that the example rows repeat
    chunks, witnesses = restaged[:3], restaged[3:]
    assert sum(chunks) == first["rows"]["requested"]
    assert sum(witnesses) <= 100
    assert curated["dataset_digest"] == first["dataset_digest"]
