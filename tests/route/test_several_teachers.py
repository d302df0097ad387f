"""A weighted list of teachers: each request is assigned to one, always the same, and its rows name it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

import synth_ray
from synth_ray.job.load import job_from
from synth_ray.job.models import Models
from synth_ray.job.problems import BadJob
from synth_ray.records import digest

WEIGHTS = st.lists(st.integers(1, 9), min_size=1, max_size=5)


def teacher(name: str, weight: float = 1.0, **more: Any) -> dict[str, Any]:
    script = {"answers": [f"{name} says {{{{ number }}}} {{{{ words }}}}"]}
    return {"engine": "scripted", "model": name, "script": script, "weight": weight} | more


@given(WEIGHTS)
def test_each_teacher_has_its_share_and_a_request_keeps_its_teacher(weights: list[int]) -> None:
    models = Models(teacher=[teacher(f"t{n}", weight) for n, weight in enumerate(weights)])  # type: ignore[arg-type]
    requests = [digest("request", n) for n in range(1000)]
    assigned = [models.teacher_index_of(request) for request in requests]
    assert assigned == [models.teacher_index_of(request) for request in requests]
    for number, weight in enumerate(weights):
        assert abs(assigned.count(number) / 1000 - weight / sum(weights)) < 0.08


def job(folder: Path, **more: Any) -> dict[str, Any]:
    (folder / "seeds.jsonl").write_text("".join(json.dumps({"prompt": f"question number {n}"}) + "\n" for n in range(400)))
    document: dict[str, Any] = {
        "name": "several",
        "seeds": str(folder / "seeds.jsonl"),
        "recipe": "distill",
        "models": {"teacher": [teacher("large", 3, revision="r1", license="apache-2.0", terms="none"), teacher("small", 1)]},
        "split": {"fractions": {"train": 1.0}, "group_at": None},
        "output": str(folder / "out"),
        "cluster": {"engine": "local", "in_flight": 64},
    }
    return document | more


def test_rows_name_the_teacher_that_answered_and_the_card_names_all(tmp_path: Path) -> None:
    (tmp_path / "real.jsonl").write_text('{"prompt": "a real question?", "answer": "a real answer"}\n')
    manifest = synth_ray.run(job(tmp_path, split={"real": str(tmp_path / "real.jsonl"), "group_at": None})).manifest
    parts = f"read_parquet('{tmp_path}/out/data/**/*.parquet')"
    synthetic = f"select * from {parts} where origin = 'synthetic'"
    rows = duckdb.sql(f"select teacher, split_part(completion, ' ', 1), revision, count(*) from ({synthetic}) group by all")
    assert duckdb.sql(f"select teacher from {parts} where origin = 'real'").fetchall() == [(None,)]
    by_teacher = {teacher: (prefix, revision, n) for teacher, prefix, revision, n in rows.fetchall()}
    assert {name: facts[:2] for name, facts in by_teacher.items()} == {"large": ("large", "r1"), "small": ("small", "")}
    assert by_teacher["large"][2] > 2 * by_teacher["small"][2]
    assert (manifest["teacher"], manifest["teacher_license"]) == ("large (75%), small (25%)", "large: apache-2.0")
    assert set(manifest["engines"]) == {"teacher", "teacher_2"}
    assert "large (75%), small (25%)" in (tmp_path / "out" / "README.md").read_text()


def test_other_weights_are_another_run(tmp_path: Path) -> None:
    first = job_from(job(tmp_path)).ask_digest("seeds")
    same = job_from(job(tmp_path, name="other")).ask_digest("seeds")
    other = job_from(job(tmp_path, models={"teacher": [teacher("large", 1), teacher("small", 1)]})).ask_digest("seeds")
    assert first == same != other


def test_a_wrong_key_of_a_later_teacher_is_named(tmp_path: Path) -> None:
    wrong = [teacher("large"), teacher("small", 1) | {"wieght": 2}]
    with pytest.raises(BadJob, match=r"models\.others\.0\.wieght.*'?weight'?"):
        synth_ray.run(job(tmp_path, models={"teacher": wrong}))
