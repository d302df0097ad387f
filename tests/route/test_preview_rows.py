"""A preview shows the rows that a run publishes: the same text, the same fields, the same verdicts."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import synth_ray
from synth_ray.ask.asker import Asker
from synth_ray.ask.engines import open_engines
from synth_ray.job.load import job_from
from synth_ray.prepare.preparation import prepare
from synth_ray.records import Outcome
from synth_ray.route.preview import PreviewedRow, first_requests, preview_rows

NOT_COMPARED = {"witness", "similarity"}  # of a row that was decided beside others
RECIPES: dict[str, dict[str, Any]] = {
    "distill": {"recipe": {"name": "distill", "n": 2, "keep": ["kind"]}},
    "evolve": {"recipe": {"name": "evolve", "every": True, "depth": 2}},
    "vary": {"recipe": {"name": "vary", "keep": ["kind"]}},
    "fill": {
        "recipe": {"name": "fill", "by": "kind", "answer": "{{ example }}"},
        "target": {"accepted": 6, "balance": {"by": "kind", "shares": "equal"}, "lag": 300},
        "plan": {"chunk_requests": 4},
    },
    "edge_cases": {"recipe": "edge_cases", "split": {"fractions": {"test": 1.0}, "real": "real.jsonl"}},
    "converse": {"recipe": {"name": "converse", "turns": 2}},
    "build": {"recipe": "build", "models": "none"},
}
ANSWERS = ["Write to jo.doe@mail.com about {{ words }}", "I am sorry, but I cannot help with that.", "{{ prompt }}", ""]


def job_of(folder: Path, **more: Any) -> dict[str, Any]:
    seeds = [{"prompt": f"What is {n} and {n + 1}?", "answer": f"It is {2 * n + 1}.", "kind": "ab"[n % 2]} for n in range(12)]
    (folder / "seeds.jsonl").write_text("".join(json.dumps(seed) + "\n" for seed in seeds))
    (folder / "real.jsonl").write_text(json.dumps({"prompt": "What is real?", "answer": "This is."}) + "\n")
    document = {
        "name": "previewed",
        "seeds": "seeds.jsonl",
        "models": {"teacher": {"engine": "scripted", "script": {"answers": ANSWERS}}},
        "split": {"fractions": {"train": 1.0}},
        "output": "out",
        "cluster": {"engine": "local"},
    }
    return document | more


async def ask_each(asker: Asker, requests: list[Any]) -> list[Outcome]:
    return [await asker.run(request) for request in requests]


def previewed(document: dict[str, Any], count: int, spool: Path, *, raw: bool = False) -> list[PreviewedRow]:
    prepared = prepare(job_from(document), spool=spool)
    requests = first_requests(prepared, count, folder=spool / "plan")
    engines = open_engines(prepared.job.models.by_role())
    asker = Asker.of(prepared.job, {role: opened.teacher for role, opened in engines.items()})
    return preview_rows(prepared, asyncio.run(ask_each(asker, requests)), raw=raw)


def published(folder: Path) -> dict[str, dict[str, Any]]:
    files = [*(folder / "out" / "data").rglob("*.parquet"), *(folder / "out" / "rejected").rglob("*.parquet")]
    return {row["id"]: row for file in files for row in pq.ParquetFile(file).read().to_pylist()}


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_rows_of_a_preview_are_those_that_the_run_publishes(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    document = job_of(tmp_path, **RECIPES[recipe])
    spool = tmp_path / "spool"
    spool.mkdir()
    shown = previewed(document, 6, spool)
    assert not (tmp_path / "out").exists()
    synth_ray.run(document)
    rows = published(tmp_path)
    assert shown
    for row in shown:
        mine, run = row.columns, rows[row.columns["id"]]
        assert mine["verdict"] == run.get("verdict", "accepted")
        names = (mine.keys() & run.keys()) - NOT_COMPARED
        assert {name: mine[name] for name in names} == {name: run[name] for name in names}


def test_raw_rows_differ_in_their_text_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    models = {"teacher": {"engine": "scripted", "script": {"answers": ANSWERS[:1]}}}
    document = job_of(tmp_path, recipe="distill", models=models)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    scrubbed, raw = previewed(document, 8, tmp_path / "a"), previewed(document, 8, tmp_path / "b", raw=True)
    assert [(row.columns["verdict"], row.flags) for row in raw] == [(row.columns["verdict"], row.flags) for row in scrubbed]
    assert any("jo.doe" in str(row) for row in raw)
    assert [row for row in scrubbed if "jo.doe" in str(row)] == []
