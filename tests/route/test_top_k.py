"""The likeliest tokens of a whole run: in every row whose text is the teacher's own, as the teacher told them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import datasets
import duckdb
import numpy as np
import polars as pl
import pyarrow.dataset as ds
import pytest

import synth_ray
from synth_ray.ask.scripted_top_k import VOCABULARY, id_of, logprob_of
from synth_ray.cli.main import main
from synth_ray.dataset.top_k import TOP_K_COLUMNS
from synth_ray.errors import JobError
from synth_ray.job.load import job_from
from synth_ray.route.curation import curate_job

ADDRESS = "write to ann.lee@example-mail.com today about {{ words }}"
THOUGHT = "<think>it was {{ words }}</think> so be it, {{ words }}"
PLAIN = "all is well with {{ words }}"


def document(folder: Path, recipe: dict[str, Any], seeds: list[dict[str, Any]], *answers: str, **more: Any) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    (folder / "seeds.jsonl").write_text("".join(json.dumps(seed) + "\n" for seed in seeds))
    return {
        "name": "likely",
        "seeds": str(folder / "seeds.jsonl"),
        "recipe": recipe,
        "models": {"teacher": {"engine": "scripted", "script": {"answers": list(answers)}}},
        "split": {"fractions": {"train": 1.0}, "group_at": None},
        "output": str(folder / "out"),
        "cluster": {"engine": "local", "in_flight": 64},
    } | more


def questions(n: int) -> list[dict[str, Any]]:
    return [{"prompt": f"question number {place} of them", "name": f"Ann Lee {place}"} for place in range(n)]


def rows_of(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = ds.dataset(folder / "out" / "data", partitioning="hive").to_table().to_pylist()
    return rows


def expect_truth(row: dict[str, Any], k: int, answer: str) -> None:
    """The columns of a row are what the script tells of the answer, whose own words are in it where they are likely enough."""
    words = answer.split(" ")
    assert row["answer_ids"] == [id_of(word) for word in words]
    ids = np.array(row["top_k_ids"]).reshape(len(words), k)
    logprobs = np.array(row["top_k_logprobs"], float).reshape(len(words), k)
    assert (np.diff(logprobs, axis=1) <= 0).all()
    np.testing.assert_allclose(np.exp(logprobs).sum(1) + np.array(row["tail_mass"], float), 1.0, atol=5e-3)
    for place, word in enumerate(words):
        own = np.flatnonzero(ids[place] == id_of(word))
        assert len(own) <= 1
        if len(own):
            assert logprobs[place, own[0]] == pytest.approx(logprob_of(word), abs=2e-3)
        else:
            assert logprob_of(word) <= logprobs[place, -1] + 2e-3


def test_every_row_that_is_the_teachers_own_text_has_k_tokens_at_every_position(tmp_path: Path) -> None:
    job = document(tmp_path, {"name": "distill", "top_k_logprobs": 8}, questions(200), PLAIN, ADDRESS)
    manifest = synth_ray.run(job).manifest
    rows = rows_of(tmp_path)
    kept = [row for row in rows if row["top_k_ids"] is not None]
    assert {row["completion"].startswith("all is well") for row in kept} == {True}
    assert sum("EMAIL" in row["completion"] for row in rows) == len(rows) - len(kept) > 20
    for row in kept:
        expect_truth(row, 8, row["completion"])
        assert row["prompt_ids"] == [id_of(word) for word in row["prompt"].split(" ")]
    assert all(row[name] is None for row in rows if row not in kept for name in TOP_K_COLUMNS)
    positions = sum(len(row["answer_ids"]) for row in kept)
    facts = manifest["top_k"]
    assert (facts["k"], facts["rows"], facts["lost"], facts["positions"]) == (8, len(kept), len(rows) - len(kept), positions)
    assert facts["tokenizer"]["vocabulary"] == VOCABULARY
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"8 at each of {positions:,} positions in {len(kept):,} rows; ids of the tokenizer" in card
    assert f"{len(rows) - len(kept):,} rows have no likeliest tokens" in card
    curate_job(job_from(job))
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["top_k"] == facts
    _expect_readers_agree(tmp_path, rows)


def _expect_readers_agree(folder: Path, rows: list[dict[str, Any]]) -> None:
    """datasets, DuckDB and Polars read the same values."""
    wanted = {row["id"]: row for row in rows}
    loaded = datasets.load_dataset(str(folder / "out"), cache_dir=str(folder / "cache"))["train"]
    assert loaded.features["top_k_logprobs"] == datasets.List(datasets.Value("float16"))
    assert loaded.features["top_k_ids"] == datasets.List(datasets.Value("uint32"))
    parts = f"{folder}/out/data/**/*.parquet"
    read = duckdb.sql(f"select id, top_k_ids, top_k_logprobs, tail_mass from read_parquet('{parts}')").fetchall()
    names = ("id", "top_k_ids", "top_k_logprobs", "tail_mass")
    by_duckdb = [dict(zip(names, row, strict=True)) for row in read]
    by_polars = pl.read_parquet(parts).select(names).to_dicts()
    for got in (loaded, by_duckdb, by_polars):
        got = list(got)
        assert len(got) == len(rows)
        for row in got:
            assert row["top_k_ids"] == wanted[row["id"]]["top_k_ids"]
            for name in ("top_k_logprobs", "tail_mass"):
                values = wanted[row["id"]][name]
                assert row[name] == (values and pytest.approx(values))


def test_no_token_spells_what_the_row_does_not_have(tmp_path: Path) -> None:
    shown = {"name": "distill", "top_k_logprobs": 4, "template": "{{ name }} asks: {{ prompt }}"}
    synth_ray.run(document(tmp_path / "shown", shown, questions(20), PLAIN))
    assert all(row["prompt_ids"] == [] and row["top_k_ids"] for row in rows_of(tmp_path / "shown"))
    fixed = {"name": "distill", "top_k_logprobs": 4, "template": "Be brief. {{ prompt }}"}
    synth_ray.run(document(tmp_path / "fixed", fixed, questions(20), PLAIN))
    for row in rows_of(tmp_path / "fixed"):
        assert row["prompt_ids"] == [id_of(word) for word in f"Be brief. {row['prompt']}".split(" ")]
    for policy, has in (("keep", True), ("drop", False)):
        recipe = {"name": "distill", "top_k_logprobs": 4, "reasoning": policy}
        manifest = synth_ray.run(document(tmp_path / policy, recipe, questions(20), THOUGHT)).manifest
        rows = rows_of(tmp_path / policy)
        assert [row["top_k_ids"] is not None for row in rows] == [has] * len(rows)
        assert manifest["top_k"]["lost"] == (0 if has else len(rows))
    kept = rows_of(tmp_path / "keep")[0]
    assert kept["answer_ids"][0] == id_of("<think>it")  # what was thought is part of the answer's tokens
    personal = [{"prompt": f"I am ann.lee{n}@example-mail.com, case {n}"} for n in range(5)]
    synth_ray.run(document(tmp_path / "personal", {"name": "distill", "top_k_logprobs": 4}, personal, PLAIN))
    assert all(row["prompt_ids"] is None for row in rows_of(tmp_path / "personal"))


PAIRS = [{"prompt": f"what is number {n} of it", "answer": f"it is the number {n * n} I would say"} for n in range(40)]
DIALOGUE = {
    "messages": [
        {"role": "user", "content": "is anybody there"},
        {"role": "assistant", "content": "yes there is"},
        {"role": "user", "content": "where then"},
        {"role": "assistant", "content": "behind the old door"},
    ]
}


def test_given_answers_are_scored_and_their_rows_stay_what_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seeds = [*PAIRS, DIALOGUE, {"prompt": "a question without an answer"}]
    job = document(tmp_path, {"name": "score", "top_k_logprobs": 4}, seeds)
    manifest = synth_ray.run(job).manifest
    assert manifest["rows"]["rejected"] == {"missing_field": 1}
    assert manifest["rows"]["accepted"] == manifest["top_k"]["rows"] == 41
    rows = rows_of(tmp_path)
    for row in rows:
        expect_truth(row, 4, row["completion"])
        said = [logprob_of(word) for word in row["completion"].split(" ")]
        assert row["mean_logprob"] == pytest.approx(sum(said) / len(said))
        assert row["perplexity"] == pytest.approx(math.exp(-row["mean_logprob"]))
        assert (row["origin"], row["depth"], row["completion_tokens"]) == ("real", 0, len(said))
        before = [word for turn in row["messages"][:-1] for word in turn["content"].split(" ")]
        assert (row["prompt_ids"], row["prompt_tokens"]) == ([id_of(word) for word in before], len(before))
    assert sorted(row["completion"] for row in rows) == sorted([*(pair["answer"] for pair in PAIRS), "behind the old door"])
    assert manifest["tokens"]["completion"] == 41  # an engine makes one token of each
    file = tmp_path / "job.yaml"
    file.write_text(json.dumps(job))
    assert main(["plan", str(file)]) == 0
    told = capsys.readouterr().out
    assert "top-k     4 at each token: 30 bytes of rows, about 16 in Parquet; about " in told


def test_scores_without_the_likeliest_tokens_have_no_columns_of_them(tmp_path: Path) -> None:
    manifest = synth_ray.run(document(tmp_path, {"name": "score"}, PAIRS[:5])).manifest
    assert manifest["top_k"] == {}
    assert not set(TOP_K_COLUMNS) & set(manifest["columns"])
    assert all(row["mean_logprob"] < 0 for row in rows_of(tmp_path))


def test_what_cannot_be_kept_is_refused_before_anything_is_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = document(tmp_path, {"name": "distill", "top_logprobs": 2, "top_k_logprobs": 2}, questions(2), PLAIN)
    with pytest.raises(JobError, match="wanted top_logprobs or top_k_logprobs, got both"):
        synth_ray.run(both)
    batch = {"engine": "batch_api", "model": "m", "batch": {"url": "http://localhost:1/v1"}}
    refused = document(tmp_path, {"name": "score"}, PAIRS[:2]) | {"models": {"teacher": batch}}
    (tmp_path / "job.yaml").write_text(json.dumps(refused))
    assert main(["check", str(tmp_path / "job.yaml")]) == 2
    assert "wanted a model that tells log-probabilities of given answers, got engine 'batch_api'" in capsys.readouterr().err
    named = document(tmp_path, {"name": "distill", "top_k_logprobs": 2}, questions(2), PLAIN)
    named["output"] = {"path": str(tmp_path / "out"), "columns": {"tail_mass": "float"}}
    with pytest.raises(JobError, match="got one of top_k_logprobs' columns"):
        synth_ray.run(named)


def test_scored_rows_are_said_to_be_real(tmp_path: Path) -> None:
    synth_ray.run(document(tmp_path, {"name": "score"}, PAIRS[:5]))
    card = (tmp_path / "out" / "README.md").read_text()
    assert "The rows are copies of the seeds" in card
    assert "- synthetic\n" not in card
    assert "Synthetic data" not in (tmp_path / "out" / "croissant.json").read_text()
