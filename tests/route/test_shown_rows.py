"""What a run and a curation show of their rows: examples beside the rows they repeat, funnel, profile, leaks."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

import synth_ray
from synth_ray.dataset.examples import PATH, read_examples
from synth_ray.job.load import job_from
from synth_ray.report.funnel import by_stage
from synth_ray.route.curation import curate_job
from synth_ray.storage import open_storage

TOPICS = ("parcels", "refunds", "invoices", "passwords")
LINE = "please tell the customer that {topic} number {n} are on their way and will arrive before the end of this week"
REAL = [{"prompt": f"a real question about {topic}, the {n}th", "answer": f"a real answer {n * 7919 % 1009}"}
        for n in range(8) for topic in TOPICS]  # fmt: skip


def job(folder: Path, name: str = "out", **more: Any) -> dict[str, Any]:
    """Answers repeat their prompts, of which every third is near the one before it. The label of a row is its topic."""
    seeds = [
        {"prompt": LINE.format(topic=TOPICS[n % 4], n=n - n % 3) + " or later" * (n % 3), "label": TOPICS[n % 4]}
        for n in range(90)
    ]
    seeds += [
        {"prompt": f"mail jo.doe@mail.com about {n * 7919 % 1009} {topic}", "label": topic} for n in range(4) for topic in TOPICS
    ]
    for file, rows in {"seeds": seeds, "real": REAL}.items():
        (folder / f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "name": "shown",
        "seeds": str(folder / "seeds.jsonl"),
        "recipe": {"name": "distill", "keep": ["label"]},
        "models": {"teacher": {"engine": "scripted", "script": {"answers": ["{{ prompt }}"], "fail_share": 0.05}}},
        "check": {"drop": ["too_many_tokens"], "max_tokens": 40},
        "dedup": {"compares": ["completion"], "threshold": 0.6},
        "split": {"fractions": {"train": 0.8, "test": 0.2}, "real": str(folder / "real.jsonl"), "group_at": None},
        "plan": {"chunk_requests": 16},
        "output": {"path": str(folder / name), "columns": {"label": "string"}},
        "cluster": {"engine": "local"},
    } | more


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("shown")
    return synth_ray.run(job(folder)).manifest, folder


def examples(folder: Path, name: str = "out") -> dict[str, Any]:
    return read_examples(open_storage(str(folder / name)))


def test_a_run_shows_accepted_rows_of_all_classes_and_rejected_ones_beside_the_rows_they_repeat(ran: Any) -> None:
    manifest, folder = ran
    shown = examples(folder)
    assert len(shown["accepted"]) == 10
    assert {row["class"] for row in shown["accepted"]} >= set(TOPICS)
    parts = f"read_parquet('{folder}/out/data/**/*.parquet', hive_partitioning = true)"
    groups = duckdb.sql(f"select distinct origin, split from {parts}").fetchall()
    assert {(row["origin"], row["split"]) for row in shown["accepted"]} == set(groups)
    assert any(row["origin"] == "real" and row["teacher"] is None for row in shown["accepted"])
    assert {reason: len(rows) for reason, rows in shown["rejected"].items()} == {
        reason: min(3, n) for reason, n in {**manifest["rows"]["rejected"], **manifest["rows"]["failed"]}.items()
    }
    kept = dict(duckdb.sql(f"select id, completion from read_parquet('{folder}/out/data/**/*.parquet')").fetchall())
    for row in shown["rejected"]["near_duplicate"]:
        assert row["witness"]["messages"][-1]["content"] == kept[row["witness"]["id"]] != row["messages"][-1]["content"]
    assert all(row["witness"] is None for row in shown["rejected"]["engine_error"])
    assert {edge["measure"] for edge in shown["edges"]} == {"dedup.threshold", "check.max_tokens"}
    assert all(edge["beside"] for edge in shown["edges"] if edge["measure"] == "dedup.threshold")
    assert "jo.doe@mail.com" not in (folder / "out" / PATH).read_text()


def test_the_funnel_adds_up_by_dimension_and_by_stage(ran: Any) -> None:
    manifest, _ = ran
    rows = manifest["rows"]
    assert {dimension: sum(map(slots_of, entries)) for dimension, entries in manifest["funnel"].items()} == dict.fromkeys(
        ("split", "class", "teacher", "recipe"), rows["requested"]
    )
    by_class = {entry["value"]: entry for entry in manifest["funnel"]["class"]}
    assert set(TOPICS) <= set(by_class) <= {*TOPICS, "(none)"}
    assert [entry["value"] for entry in manifest["funnel"]["teacher"]] == ["scripted"]
    steps = by_stage(manifest)
    assert [step.stage for step in steps] == ["ask", "recipe", "check", "scrub", "admit"]
    assert (steps[0].entered, steps[-1].left) == (rows["requested"], rows["accepted"])
    assert all(step.entered - sum(step.by_reason.values()) == step.left for step in steps)
    assert all(before.left == after.entered for before, after in itertools.pairwise(steps))
    assert set(steps[0].by_reason) == {"engine_error"}


def slots_of(entry: dict[str, Any]) -> int:
    return int(entry["accepted"] + sum(entry["rejected"].values()) + sum(entry["failed"].values()))


def test_the_profile_sets_real_beside_synthetic_and_split_beside_split(ran: Any) -> None:
    manifest, folder = ran
    profile = manifest["profile"]
    assert profile["groups"] == {
        "synthetic": manifest["rows"]["accepted"],
        "real": manifest["rows"]["real"],
        **{split: n for split, n in manifest["splits"].items() if n},
    }
    assert profile["real_rows"] == "in the dataset"
    lengths = profile["columns"]["completion_characters"]
    [(shortest, longest, mean)] = duckdb.sql(
        "select min(length(completion)), max(length(completion)), avg(length(completion)) from "
        f"read_parquet('{folder}/out/data/split=train/*.parquet')"
    ).fetchall()
    assert (lengths["train"]["min"], lengths["train"]["max"]) == (shortest, longest)
    assert lengths["train"]["mean"] == pytest.approx(mean, rel=1e-5)
    assert {value for value, _ in profile["columns"]["label"]["synthetic"]["top"]} == set(TOPICS)
    assert profile["columns"]["roles"]["real"]["top"] == [["user assistant", manifest["rows"]["real"]]]
    assert "real" not in profile["columns"]["completion_tokens"]  # nobody counts them


def test_no_row_leaks_between_splits(ran: Any) -> None:
    assert ran[0]["leaks"] == 0


def test_running_and_curating_again_show_the_same_rows(ran: Any) -> None:
    manifest, folder = ran
    before = (folder / "out" / PATH).read_bytes()
    for again in (synth_ray.run(job(folder)), curate_job(job_from(job(folder)))):
        assert (folder / "out" / PATH).read_bytes() == before
        assert {name: again.manifest[name] for name in ("funnel", "profile", "leaks")} == {
            name: manifest[name] for name in ("funnel", "profile", "leaks")
        }


def test_a_curation_with_another_scrub_shows_witnesses_as_it_scrubs_them(tmp_path: Path) -> None:
    first = job(tmp_path, scrub={"entities": ["PHONE_NUMBER"]}, dedup={"compares": ["completion"], "threshold": 0.2})
    synth_ray.run(first)
    assert "jo.doe@mail.com" in (tmp_path / "out" / PATH).read_text()
    curate_job(job_from(first | {"scrub": {"entities": ["PHONE_NUMBER", "EMAIL_ADDRESS"]}}))
    assert "jo.doe@mail.com" not in (tmp_path / "out" / PATH).read_text()


def test_a_witness_may_be_a_seed_a_real_row_or_a_row_of_an_earlier_run(ran: Any, tmp_path: Path) -> None:
    _, folder = ran
    seeds = synth_ray.run(job(tmp_path, "seeds", dedup={"compares": ["prompt"], "seeds": True})).manifest
    assert seeds["rows"]["accepted"] == 0
    witnesses = [row["witness"] for row in examples(tmp_path, "seeds")["rejected"]["exact_duplicate"]]
    assert {witness["origin"] for witness in witnesses} == {"seed"}
    assert all(witness["messages"][0]["content"] for witness in witnesses)

    script = {"answers": [row["answer"] for row in REAL]}
    synth_ray.run(job(tmp_path, "real", models={"teacher": {"engine": "scripted", "script": script}}))
    found = [row for rows in examples(tmp_path, "real")["rejected"].values() for row in rows if row.get("witness")]
    assert any(row["witness"]["origin"] == "real" for row in found)
    assert all(row["witness"]["messages"][-1] == row["messages"][-1] for row in found if row["witness"]["origin"] == "real")

    synth_ray.run(job(tmp_path, "again", dedup={"compares": ["completion"], "threshold": 0.6, "against": [str(folder / "out")]}))
    repeated = examples(tmp_path, "again")["rejected"]["exact_duplicate"]
    assert len(repeated) == 3
    assert all(row["witness"]["messages"][-1] == row["messages"][-1] for row in repeated)
