"""Targets and balances: planning continues until the rows are admitted, and depends only on what was admitted."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pytest

import synth_ray
from synth_ray.errors import JobError
from tests.route.test_growth import commits

LABELS = {"card": 40, "cash": 10, "loan": 3}
SCRIPT = {"repeat_share": 0.1, "fail_share": 0.1, "empty_share": 0.1, "vocabulary": 50_000}


class Crash(Exception):
    """Simulates a crash of the driver."""


def job(folder: Path, name: str = "out", **more: Any) -> dict[str, Any]:
    seeds = folder / "seeds.jsonl"
    rows = [{"prompt": f"{label} question {i}?", "label": label} for label, n in LABELS.items() for i in range(n)]
    seeds.write_text("".join(json.dumps(row) + "\n" for row in rows))
    document: dict[str, Any] = {
        "name": "targets",
        "seeds": str(seeds),
        "recipe": {"name": "vary", "keep": ["label"]},
        "models": {"teacher": {"engine": "scripted", "script": SCRIPT}},
        "plan": {"chunk_requests": 16, "window_chunks": 6},
        "dedup": {"compares": ["completion"]},
        "split": {"allow_synthetic_only_eval": True, "group_at": None},
        "target": {"accepted": 90, "balance": {"by": "label", "shares": "equal"}, "lag": 3},
        "output": {"path": str(folder / name)},
        "cluster": {"engine": "local", "in_flight": 40},
    }
    for key, value in more.items():
        document[key] = {**document.get(key, {}), **value} if isinstance(value, dict) else value
    return document


def labels(manifest: dict[str, Any], prefix: Path) -> dict[str, int]:
    parts = [f"{prefix}/{file['path']}" for file in manifest["files"]]
    return dict(duckdb.sql(f"select label, count(*) from read_parquet({parts}) group by 1").fetchall())


@pytest.fixture(scope="module")
def balanced(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("targets")
    return synth_ray.run(job(folder)).manifest, folder / "out"


def test_every_cell_gets_its_rows_and_the_manifest_lists_each(balanced: tuple[dict[str, Any], Path]) -> None:
    manifest, prefix = balanced
    assert manifest["complete"]
    assert labels(manifest, prefix) == dict.fromkeys(LABELS, 30)
    cells = {cell["cell"]: cell for cell in manifest["target"]["cells"]}
    assert {name: (cell["wanted"], cell["accepted"], cell["closed"]) for name, cell in cells.items()} == dict.fromkeys(
        LABELS, (30, 30, False)
    )
    rows = manifest["rows"]
    assert rows["requested"] == manifest["target"]["requests"] == sum(cell["requests"] for cell in cells.values())
    assert rows["requested"] == rows["accepted"] + sum(rows["rejected"].values()) + sum(rows["failed"].values())


@pytest.mark.parametrize("changes", [{"plan": {"window_chunks": 1}}, {"cluster": {"teachers": 3, "in_flight": 5, "stagers": 2}}])
def test_the_pace_of_the_run_changes_nothing(
    balanced: tuple[dict[str, Any], Path], tmp_path: Path, changes: dict[str, Any]
) -> None:
    slow = {"models": {"teacher": {"engine": "scripted", "script": {**SCRIPT, "latency_s": 0.02, "slow_share": 0.3}}}}
    assert synth_ray.run(job(tmp_path, **changes, **slow)).manifest["dataset_digest"] == balanced[0]["dataset_digest"]


def test_a_crashed_run_resumes_with_the_same_plan(balanced: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    def crash(tally: Any) -> None:
        if tally.chunks_admitted >= 4:
            raise Crash

    slow = {"models": {"teacher": {"engine": "scripted", "script": {**SCRIPT, "latency_s": 0.02, "slow_share": 0.3}}}}
    with pytest.raises(Crash):
        synth_ray.run(job(tmp_path, **slow), watch=crash)
    before = commits(tmp_path)
    manifest = synth_ray.run(job(tmp_path)).manifest
    assert before.items() < commits(tmp_path).items()
    assert (manifest["dataset_digest"], manifest["rows"]) == (balanced[0]["dataset_digest"], balanced[0]["rows"])


def test_a_higher_target_asks_more_and_a_lower_one_asks_nothing(tmp_path: Path) -> None:
    first = synth_ray.run(job(tmp_path)).manifest
    before = commits(tmp_path)
    lower = synth_ray.run(job(tmp_path, target={"accepted": 30})).manifest
    assert labels(lower, tmp_path / "out") == dict.fromkeys(LABELS, 10)
    assert commits(tmp_path) == before
    higher = synth_ray.run(job(tmp_path, target={"accepted": 150})).manifest
    assert labels(higher, tmp_path / "out") == dict.fromkeys(LABELS, 50)
    after = commits(tmp_path)
    assert before.items() < after.items()
    numbers = Counter(n for record in after.values() for a, b in json.loads(record)["facts"]["numbers"] for n in range(a, b))
    assert max(numbers.values()) == 1
    assert synth_ray.run(job(tmp_path)).manifest["dataset_digest"] == first["dataset_digest"]


def test_chunks_planned_for_a_target_are_refused_by_a_fixed_plan(tmp_path: Path) -> None:
    synth_ray.run(job(tmp_path))
    fixed = {name: value for name, value in job(tmp_path, plan={"requests": 200}).items() if name != "target"}
    with pytest.raises(JobError, match=r"chunk 0: wanted the requests of this plan, got those of another"):
        synth_ray.run(fixed)


def test_fill_makes_only_the_rows_that_each_cell_lacks(tmp_path: Path) -> None:
    target = {"accepted": None, "balance": {"by": "label", "up_to": 25}}
    fill = {"name": "fill", "by": "label", "answer": "Reply to: {{ example }}", "shots": 1}
    manifest = synth_ray.run(job(tmp_path, target=target, recipe=fill, dedup={"compares": ["prompt"]})).manifest
    assert labels(manifest, tmp_path / "out") == {"cash": 15, "loan": 22}


def test_a_row_is_capped_by_its_own_answer_where_seeds_have_none(tmp_path: Path) -> None:
    manifest = synth_ray.run(
        job(
            tmp_path,
            recipe={"name": "label", "labels": ["yes", "no", "maybe"]},
            target={"accepted": 40, "balance": {"by": "completion", "shares": {"yes": 1, "no": 3}}},
            models={"teacher": {"engine": "scripted", "script": {"answers": ["yes", "no", "no", "maybe"]}}},
            dedup={"compares": ["prompt"], "near": False},
        )
    ).manifest
    assert [(c["cell"], c["accepted"], c["requests"]) for c in manifest["target"]["cells"]] == [
        ("no", 30, None),
        ("yes", 10, None),
    ]
    assert manifest["rows"]["rejected"]["over_quota"] > 0


def test_a_cell_that_cannot_be_filled_stops_the_run_short(tmp_path: Path) -> None:
    script = {"answers": ["{% if 'loan' in prompt %}{% else %}{{ prompt }} and more {{ prompt }}{% endif %}"]}
    result = synth_ray.run(
        job(tmp_path, target={"max_requests": 200}, models={"teacher": {"engine": "scripted", "script": script}})
    )
    assert result.stopped.startswith("target: ")
    assert not result.manifest["complete"]
    assert result.manifest["target"]["requests"] <= 200


def test_a_lag_shorter_than_the_requests_in_flight_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"target\.lag: wanted a lag of at least the 120 requests .* set target\.lag: 8"):
        synth_ray.run(job(tmp_path, cluster={"teachers": 3}))
