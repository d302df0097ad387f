"""Judges that give numbers, and a role that embeds: what rows have of them, what they reject, what is refused at the start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

import synth_ray
from synth_ray.dedup.embedding import vectors_in
from synth_ray.errors import JobError
from synth_ray.job.load import job_from
from synth_ray.prepare.preparation import prepare
from synth_ray.recipes.with_embedding import packed_int8
from synth_ray.route.curation import curate_job
from synth_ray.workers.row_stages import RowStages
from tests.rows import staged_row

ANSWERS = ["a sound answer about {{ words }}", "a shabby answer about {{ words }}", "an answer, sound and shabby, on {{ words }}"]
REWARD = {"engine": "scripted", "task": "reward", "script": {"scores": {"sound": 2.0, "shabby": -1.5}}}
CLASSIFIER = REWARD | {"task": "classify", "scoring": {"labels": ["good", "bad"]}}
EMBEDDER = {"engine": "scripted", "task": "embed"}


def job(folder: Path, *, wrong: int = 0, **more: Any) -> dict[str, Any]:
    """`wrong` of the 60 gold rows are judged otherwise than the planted scores say."""
    people = [
        {"prompt": f"asked {n}", "answer": f"a {'sound' if n % 2 else 'shabby'} one, {n}", "good": bool(n % 2) != (n < wrong)}
        for n in range(60)
    ]
    for name, rows in {"seeds": [{"prompt": f"question number {n}"} for n in range(60)], "gold": people}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    document: dict[str, Any] = {
        "name": "rated",
        "seeds": str(folder / "seeds.jsonl"),
        "recipe": "distill",
        "models": {"teacher": {"engine": "scripted", "script": {"answers": ANSWERS}}},
        "scrub": {"seeds": False},
        "split": {"fractions": {"train": 1.0}, "group_at": None},
        "output": str(folder / "out"),
        "cluster": {"engine": "local", "in_flight": 64},
    }
    models = document["models"] | more.pop("models", {})
    return document | {"models": models} | more


def judged(folder: Path, judge: dict[str, Any], *, wrong: int = 0, **gate: Any) -> dict[str, Any]:
    section = {"gold": str(folder / "gold.jsonl"), "min_score": 1.0} | gate
    return job(folder, wrong=wrong, models={"judge": judge}, check={"judge": section})


def rows_of(folder: Path, columns: str) -> list[tuple[Any, ...]]:
    return duckdb.sql(f"select {columns} from read_parquet('{folder}/out/data/**/*.parquet')").fetchall()


def test_rewards_are_columns_and_another_threshold_is_chosen_by_quantile_without_asking(tmp_path: Path) -> None:
    first = synth_ray.run(judged(tmp_path, REWARD)).manifest
    rows, summary = first["rows"], first["judge"]
    assert rows["requested"] == 60 == rows["accepted"] + sum(rows["rejected"].values()) + sum(rows["failed"].values())
    assert set(rows_of(tmp_path, "judge_score, judge_scores")) == {(2.0, '{"reward":2.0}')}
    assert (summary["task"], summary["gold"], summary["kappa"], summary["advisory"]) == ("reward", 60, 1.0, False)
    assert summary["quantiles"]["0.05"] == -1.5 and summary["quantiles"]["0.95"] == 2.0
    assert -1 <= summary["length_correlation"] <= 1
    assert 0 < first["tokens"]["judge_prompt"] < first["tokens"]["prompt"] and "judge_completion" not in first["tokens"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "a reward model" in page and "Rank correlation of score and length" in page
    assert "by a reward model, on a scale of its own" in (tmp_path / "out" / "README.md").read_text()
    middle = judged(tmp_path, REWARD, min_score=summary["quantiles"]["0.5"])
    curated = curate_job(job_from(middle)).manifest
    assert curated["rows"]["accepted"] == rows["requested"] - curated["rows"]["rejected"]["poorly_judged"] > rows["accepted"]
    assert {score for (score,) in rows_of(tmp_path, "judge_score")} == {0.5, 2.0}


def test_a_rating_judge_that_disagrees_with_people_only_advises(tmp_path: Path) -> None:
    manifest = synth_ray.run(judged(tmp_path, REWARD, wrong=20)).manifest
    assert manifest["judge"]["advisory"] and manifest["judge"]["kappa"] < 0.6
    assert manifest["rows"]["accepted"] == 60
    assert {score for (score,) in rows_of(tmp_path, "judge_score")} == {-1.5, 0.5, 2.0}


def test_a_classifiers_score_is_the_probability_of_the_named_label(tmp_path: Path) -> None:
    manifest = synth_ray.run(judged(tmp_path, CLASSIFIER, label="good", min_score=0.6)).manifest
    assert manifest["judge"]["label"] == "good"
    for score, scores in rows_of(tmp_path, "judge_score, judge_scores"):
        assert score == json.loads(scores)["good"] == pytest.approx(1 - json.loads(scores)["bad"], abs=1e-5)
        assert score >= 0.6


def test_the_best_of_several_by_reward_is_the_row_and_the_rewards_of_all_are_kept(tmp_path: Path) -> None:
    recipe = {"name": "distill", "best_of": 4, "pick": "reward"}
    manifest = synth_ray.run(job(tmp_path, models={"judge": REWARD}, recipe=recipe)).manifest
    assert manifest["attempts"]["not_the_best"] == 3 * 60
    for completion, reward, rewards in rows_of(tmp_path, "completion, reward, rewards"):
        planted = 2.0 * completion.count("sound") - 1.5 * completion.count("shabby")
        assert reward == planted == max(json.loads(rewards)) and len(json.loads(rewards)) == 4


def test_a_pair_is_the_best_and_the_worst_by_reward_and_less_than_the_margin_is_a_tie(tmp_path: Path) -> None:
    recipe = {"name": "prefer", "n": 3, "margin": 2.0}
    manifest = synth_ray.run(job(tmp_path, models={"judge": REWARD}, recipe=recipe)).manifest
    rows = manifest["rows"]
    assert rows["rejected"]["tie"] > 0 and rows["accepted"] + sum(rows["rejected"].values()) == 60
    for chosen, rejected in rows_of(tmp_path, "chosen_score, rejected_score"):
        assert chosen - rejected >= 2.0


def test_answers_that_the_judge_could_not_rate_are_counted_and_none_is_lost(tmp_path: Path) -> None:
    flaky = REWARD | {"script": REWARD["script"] | {"fail_share": 0.4}}
    recipe = {"name": "distill", "best_of": 2, "pick": "reward"}
    best = synth_ray.run(job(tmp_path, models={"judge": flaky}, recipe=recipe)).manifest
    assert best["attempts"]["not_judged"] > 0 and best["rows"]["accepted"] == 60
    rewards = [json.loads(rewards) for (rewards,) in rows_of(tmp_path, "rewards")]
    assert any(None in pair for pair in rewards)
    pairs = job(tmp_path, models={"judge": flaky}, recipe={"name": "prefer", "margin": 0.5}, output=str(tmp_path / "pairs"))
    rows = synth_ray.run(pairs).manifest["rows"]
    assert rows["failed"]["no_answer"] > 0
    assert rows["accepted"] + sum(rows["rejected"].values()) + sum(rows["failed"].values()) == rows["requested"] == 60


def embedding_job(folder: Path, *, threshold: float = 0.99, **more: Any) -> dict[str, Any]:
    """Two answers out of three are of the same words, in another order for every seed."""
    answers = ["{{ prompt }} {{ 'is open today' if number % 2 else 'today is open' }}", "{{ words }}"]
    teacher = {"engine": "scripted", "script": {"answers": answers}}
    dedup = {"near": False, "compares": ["completion"], "semantic": {"role": "embedder", "threshold": threshold}}
    section = {"models": {"teacher": teacher, "embedder": EMBEDDER}, "dedup": dedup, "plan": {"requests": 120}} | more
    return job(folder, **section)


def test_rows_are_embedded_by_the_role_and_curated_again_by_the_vectors_they_came_with(tmp_path: Path) -> None:
    manifest = synth_ray.run(embedding_job(tmp_path)).manifest
    found = manifest["rows"]["rejected"]["semantic_duplicate"]
    assert found > 0
    none = curate_job(job_from(embedding_job(tmp_path, threshold=1.0, check={"max_repetition": 0.7}))).manifest["rows"]
    again = curate_job(job_from(embedding_job(tmp_path))).manifest["rows"]
    assert again["rejected"]["semantic_duplicate"] == found >= none["rejected"].get("semantic_duplicate", 0)


def test_a_vector_of_text_that_the_scrub_changed_is_dropped_and_its_row_is_no_duplicate(tmp_path: Path) -> None:
    import pyarrow as pa

    from synth_ray.records import STAGED

    stages = RowStages(job_from(embedding_job(tmp_path, scrub={"engine": "patterns"})))
    vector = packed_int8([1.0, -0.5, 0.25])
    texts = ["it is open today", "write to jane.doe@example.com today"]
    rows = [staged_row(i, prompt="", completion=text, embedding=vector) for i, text in enumerate(texts)]
    staged = stages.run_all(pa.Table.from_pylist(rows, schema=STAGED))
    assert staged["embedding"].to_pylist() == [vector, None]
    assert vectors_in(staged["embedding"]).tolist() == [[127, -64, 32], [0, 0, 0]]
    assert stages.run_again(staged)["embedding"].to_pylist() == [vector, None]


def test_another_embedder_than_the_runs_own_is_refused(tmp_path: Path) -> None:
    synth_ray.run(embedding_job(tmp_path))
    other = embedding_job(tmp_path)
    other["models"]["embedder"] = EMBEDDER | {"revision": "2"}
    with pytest.raises(JobError, match=r"models\.embedder"):
        curate_job(job_from(other))
    compares = embedding_job(tmp_path)
    compares["dedup"] = compares["dedup"] | {"compares": ["prompt", "completion"]}
    with pytest.raises(JobError, match=r"dedup\.semantic\.role, dedup\.compares"):
        curate_job(job_from(compares))


MISFITS: list[tuple[dict[str, Any], str]] = [
    ({"models": {"judge": REWARD}, "check": {"judge": {}}}, "check.judge.min_score: wanted the lowest score that passes"),
    (
        {"models": {"judge": REWARD}, "check": {"judge": {"min_score": 0, "criteria": {"a": "b"}}}},
        "judge.criteria: wanted a",
    ),
    ({"models": {"judge": CLASSIFIER}, "check": {"judge": {"min_score": 0.5}}}, "check.judge.label: wanted the classifier's"),
    ({"models": {"judge": CLASSIFIER}, "check": {"judge": {"min_score": 0.5, "label": "x"}}}, "wanted one of good, bad"),
    ({"models": {"judge": {"engine": "scripted"}}, "check": {"judge": {"min_score": -3}}}, "wanted a mean score from 1 to 5"),
    ({"models": {"judge": REWARD}, "recipe": "prefer"}, "models.judge.task: wanted a judge that writes"),
    ({"models": {"judge": REWARD}, "recipe": {"name": "distill", "best_of": 2, "pick": "judge"}}, "wanted a judge that writes"),
    (
        {"models": {"judge": {"engine": "scripted"}}, "recipe": {"name": "prefer", "margin": 1}},
        "models.judge.task: wanted a judge that gives numbers",
    ),
    ({"dedup": {"semantic": {"role": "judge"}}}, "dedup.semantic.role: wanted a models.judge with task embed, got none"),
    ({"models": {"embedder": EMBEDDER}}, "models.embedder: wanted a use for it"),
    (
        {"models": {"embedder": REWARD}, "dedup": {"semantic": {"role": "embedder"}}},
        "embedder.task: wanted embed, got reward",
    ),
    ({"dedup": {"semantic": {"role": "judge", "model": "folder"}}}, "got both; keep one"),
    ({"models": {"teacher": {"engine": "scripted", "task": "reward"}}}, "models.teacher.task: wanted generate, got reward"),
]


@pytest.mark.parametrize(("section", "said"), MISFITS)
def test_a_role_that_cannot_do_what_is_wanted_of_it_is_refused_before_anything_is_asked(
    tmp_path: Path, section: dict[str, Any], said: str
) -> None:
    with pytest.raises(JobError, match=said):
        prepare(job_from(job(tmp_path, **section)), spool=tmp_path)


def test_a_job_without_such_roles_asks_what_it_always_asked(tmp_path: Path) -> None:
    keys = job_from(job(tmp_path, models={"judge": {"engine": "scripted"}}, check={"judge": {}})).keys_by_cost("ask")
    assert not {"check.judge.label", "dedup.semantic.role, dedup.compares"} & set(keys)
    assert not {"task", "scoring"} & set(keys["models.judge"]) and "scores" not in keys["models.judge"]["script"]
