"""The judge's gate: what it rejects, its agreement with people's labels, and when it is only advisory."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

import synth_ray
from synth_ray.errors import JobError
from synth_ray.job.load import job_from
from synth_ray.route.curation import curate_job
from synth_ray.route.preflight import preflight
from tests.endpoint_server import KEY, MODEL, Faults, faulty_server

GOOD, BAD = "a sound answer about {{ words }}", "a shabby answer about {{ words }}"


def judge(error: float, broken: float = 0.0) -> Any:
    """A judge that rates `sound` answers good, is wrong with probability `error`, and gives no score with `broken`."""

    def reply(text: str, name: str) -> str:
        draw = random.Random(name)
        if draw.random() < broken:
            return "I would rather not say."
        good = ("sound" in text.rpartition("Answer:")[2]) != (draw.random() < error)
        return json.dumps({"correct": 5 if good else 2, "clear": 4 if good else 3})

    return reply


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TEACHER_KEY", KEY)
    yield


def job(folder: Path, url: str, *, gold: int = 200, gate: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    seeds = [{"prompt": f"question number {n}"} for n in range(300)]
    people = [
        {"prompt": f"asked {n}", "answer": f"a {'sound' if n % 2 else 'shabby'} answer, the {n}th", "good": bool(n % 2)}
        for n in range(gold)
    ]
    for name, rows in {"seeds": seeds, "gold": people}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    section = {"criteria": {"correct": "free of errors", "clear": "easy to follow"}, "gold": str(folder / "gold.jsonl")}
    endpoint = {"engine": "endpoint", "model": MODEL, "family": "other", "endpoint": {"urls": url, "key_env": "TEACHER_KEY"}}
    document: dict[str, Any] = {
        "name": "judged",
        "seeds": str(folder / "seeds.jsonl"),
        "recipe": "distill",
        "models": {"teacher": {"engine": "scripted", "script": {"answers": [GOOD, GOOD, GOOD, BAD]}}, "judge": endpoint},
        "check": {"judge": section | (gate or {})},
        "scrub": {"seeds": False},
        "split": {"fractions": {"train": 1.0}, "group_at": None},
        "plan": {"chunk_requests": 128},
        "output": str(folder / "out"),
        "cluster": {"engine": "local", "in_flight": 64},
    }
    return document | more


def count_by_adjective(folder: Path) -> dict[str, int]:
    rows = duckdb.sql(
        f"select split_part(completion, ' ', 2), count(*) from read_parquet('{folder}/out/data/**/*.parquet') group by all"
    )
    return dict(rows.fetchall())


def test_the_gate_rejects_and_the_card_corrects_the_judges_rate_by_its_errors_on_gold(tmp_path: Path) -> None:
    with faulty_server(Faults(reply=judge(error=0.1))) as url:
        manifest = synth_ray.run(job(tmp_path, url)).manifest
    rows, judge_facts = manifest["rows"], manifest["judge"]
    assert rows["requested"] == 300 == rows["accepted"] + sum(rows["rejected"].values()) + sum(rows["failed"].values())
    assert rows["rejected"]["poorly_judged"] > 50
    assert count_by_adjective(tmp_path)["sound"] > 5 * count_by_adjective(tmp_path)["shabby"]
    assert (judge_facts["gold"], judge_facts["judged"], judge_facts["advisory"]) == (200, 300, False)
    assert judge_facts["kappa"] > 0.6
    assert judge_facts["good"]["low"] < 0.75 < judge_facts["good"]["high"]
    assert abs(judge_facts["good"]["corrected"] - 0.75) < abs(judge_facts["good"]["judged"] - 0.75) + 0.02
    poor = manifest["teacher_errors"]["judge"]
    assert poor["observed"] == pytest.approx(1 - judge_facts["good"]["judged"], abs=1e-4)
    assert poor["corrected"] == pytest.approx(1 - judge_facts["good"]["corrected"], abs=1e-4)
    assert poor["low"] < poor["corrected"] < poor["high"]
    assert not any(name.startswith("gold") for name in manifest["attempts"])
    card = (tmp_path / "out" / "README.md").read_text()
    assert "## The judge" in card
    assert "Advice only" not in card
    all_messages = duckdb.sql(f"select messages from read_parquet('{tmp_path}/out/**/*.parquet', union_by_name = true)")
    assert "asked 1" not in str(all_messages.fetchall())


def test_a_judge_with_low_agreement_is_advisory(tmp_path: Path) -> None:
    with faulty_server(Faults(reply=judge(error=0.4, broken=0.1))) as url:
        manifest = synth_ray.run(job(tmp_path, url)).manifest
    assert manifest["judge"]["advisory"]
    assert manifest["judge"]["kappa"] < 0.6
    assert "poorly_judged" not in manifest["rows"]["rejected"]
    assert manifest["attempts"] == {}
    assert "**Advice only:**" in (tmp_path / "out" / "README.md").read_text()


def test_another_minimum_score_is_applied_without_asking(tmp_path: Path) -> None:
    faults = Faults(reply=judge(error=0.0))
    with faulty_server(faults) as url:
        strict = synth_ray.run(job(tmp_path, url)).manifest
        requests_before = sum(faults.counts.values())
        assert (count_by_adjective(tmp_path).get("shabby", 0), strict["judge"]["kappa"]) == (0, 1.0)
        lenient = curate_job(job_from(job(tmp_path, url, gate={"min_score": 2}))).manifest
        assert sum(faults.counts.values()) == requests_before == 500
    assert strict["rows"]["rejected"]["poorly_judged"] > 50
    assert count_by_adjective(tmp_path)["shabby"] == strict["rows"]["rejected"]["poorly_judged"]
    assert lenient["judge"]["advisory"]  # a judge that accepts everything has no agreement beyond chance


def test_a_judge_may_not_reject_with_too_few_or_invalid_gold_rows(tmp_path: Path) -> None:
    with faulty_server(Faults()) as url:
        with pytest.raises(JobError, match=r"check\.judge\.gold: wanted at least 50 rows .*, got 49"):
            preflight(job_from(job(tmp_path, url, gold=49)))
        few = job(tmp_path, url, gold=49)
        preflight(job_from(few | {"check": few["check"] | {"drop": ["truncated"]}}))
        (tmp_path / "gold.jsonl").write_text('{"prompt": "a", "answer": "b", "good": "perhaps"}\n')
        with pytest.raises(JobError, match=r"gold\.jsonl:1: wanted `good` as true or false"):
            preflight(job_from(few))
        without_judge = job(tmp_path, url)
        with pytest.raises(JobError, match=r"models\.judge: wanted the judge"):
            preflight(job_from(without_judge | {"models": {"teacher": without_judge["models"]["teacher"]}}))
