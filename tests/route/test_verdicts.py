"""The decisions of scrub and admission as a user sees them: in the manifest, in `data/` and in `rejected/`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

import synth_ray

EVAL = "the quick brown fox jumps over the lazy dog while seven old wizards mix strong potions at dawn"
REAL = "our northern warehouse ships heavy parcels only on mondays and thursdays before the evening truck leaves"
PLAIN = "please tell the customer that parcel number is on its way and will arrive before the end of this week"
MAIL = "write to jo.doe@mail.com or to ann.lee@mail.com about it"


def seed_rows() -> list[dict[str, str]]:
    """Seeds whose scripted answer is the prompt itself."""
    near = [PLAIN, PLAIN.replace("please tell", "tell"), PLAIN.replace("week", "month")]
    rows = [*near, f"{EVAL} again", REAL.replace("leaves", "departs"), MAIL, "two words"]
    return [{"prompt": f"{row}"} for row in rows]


def run(folder: Path, **more: Any) -> tuple[dict[str, Any], dict[str, tuple[Any, ...]]]:
    """Run the job; return its manifest and, by completion, reason, detail, witness and similarity of each rejected row."""
    for name, rows in {
        "seeds": seed_rows(),
        "real": [{"prompt": REAL, "answer": REAL}],
        "eval": [{"prompt": EVAL, "answer": "yes"}],
    }.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    document = {
        "name": "verdicts",
        "seeds": str(folder / "seeds.jsonl"),
        "recipe": "distill",
        "models": {"teacher": {"engine": "scripted", "script": {"answers": ["{{ prompt }}"]}}},
        "check": {"drop": []},
        "dedup": {"compares": ["completion"], "threshold": 0.5},
        "decontaminate": {"against": [{"name": "foxes", "path": str(folder / "eval.jsonl")}]},
        "split": {"fractions": {"train": 1.0}, "real": str(folder / "real.jsonl"), "group_at": None},
        "output": str(folder / "out"),
        "cluster": {"engine": "local"},
    }
    manifest = synth_ray.run(document | more).manifest
    rejected = f"read_parquet('{folder}/out/rejected/*.parquet')"
    rejections = duckdb.sql(f"select completion, reason, detail, witness, similarity from {rejected}").fetchall()
    return manifest, {row[0]: row[1:] for row in rejections}


def accepted(folder: Path, query: str) -> list[tuple[Any, ...]]:
    return duckdb.sql(query.replace("from data", f"from read_parquet('{folder}/out/data/**/*.parquet')")).fetchall()


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, tuple[Any, ...]], Path]:
    folder = tmp_path_factory.mktemp("verdicts")
    return *run(folder), folder


def test_near_duplicates_name_the_kept_row_they_repeat(ran: Any) -> None:
    manifest, rejected, folder = ran
    near = [(row[2], row[3]) for row in rejected.values() if row[0] == "near_duplicate"]
    assert len(near) == manifest["rows"]["rejected"]["near_duplicate"] == 2
    [(kept,)] = accepted(folder, "select id from data where completion like '%customer%'")
    assert {witness for witness, _ in near} == {kept}
    assert all(0.5 <= similarity < 1 for _, similarity in near)


def test_a_row_that_shares_a_long_ngram_with_an_evaluation_set_is_contaminated_by_name(ran: Any) -> None:
    manifest, rejected, _ = ran
    assert rejected[f"{EVAL} again"][:2] == ("contaminated", "foxes")
    assert manifest["contamination"] == {"foxes": 1}


def test_a_train_row_near_a_real_evaluation_row_is_rejected_and_the_real_row_stays(ran: Any) -> None:
    manifest, rejected, folder = ran
    assert rejected[REAL.replace("leaves", "departs")][0] == "cross_split"
    assert manifest["rows"]["real"] == 1
    [(completion,)] = accepted(folder, "select completion from data where origin = 'real'")
    assert completion == REAL


def test_a_seed_near_a_real_evaluation_row_is_reserved_and_never_prompted(tmp_path: Path) -> None:
    manifest, rejected = run(tmp_path, split={"fractions": {"train": 1.0}, "real": str(tmp_path / "real.jsonl")})
    assert manifest["seeds"]["rejected"] == {"reserved_for_eval": 1}
    assert REAL.replace("leaves", "departs") not in rejected


def test_personal_data_is_replaced_in_prompt_and_completion_alike_and_counted(ran: Any) -> None:
    manifest, _, folder = ran
    [(prompt, completion)] = accepted(folder, "select prompt, completion from data where completion like '%EMAIL%'")
    assert prompt == completion == "write to <EMAIL_1> or to <EMAIL_2> about it"
    assert manifest["pii"]["EMAIL_ADDRESS"] > 0
    text = "".join(p.read_text(errors="replace") for p in folder.glob("out/**/*") if p.suffix in (".md", ".json", ".html"))
    assert "doe" not in text


def test_too_much_personal_data_rejects_the_row(tmp_path: Path) -> None:
    manifest, rejected = run(tmp_path, scrub={"max_findings": 1})
    assert manifest["rows"]["rejected"]["too_much_pii"] == 1
    assert not any("doe" in completion for completion in rejected)


def test_a_row_that_cannot_be_scrubbed_in_time_is_kept_without_its_text(tmp_path: Path) -> None:
    """One in which something may be found; the others are not read closely."""
    manifest, rejected = run(tmp_path, scrub={"record_timeout_s": 1e-9}, split={"fractions": {"train": 1.0}})
    assert manifest["rows"]["rejected"]["scrub_failed"] == 1
    assert rejected[""][0] == "scrub_failed"


def test_a_variation_equal_to_a_seed_is_a_duplicate(tmp_path: Path) -> None:
    echo = {"recipe": {"name": "vary", "instruct": "{{ prompt }}", "shots": 0}, "decontaminate": {}}
    manifest, rejected = run(tmp_path, **echo, dedup={"compares": ["prompt"], "threshold": 0.9})
    assert manifest["rows"]["accepted"] == 0
    assert {row[0] for row in rejected.values()} >= {"exact_duplicate"}
    without_seeds, _ = run(tmp_path, **echo, dedup={"compares": ["prompt"], "threshold": 0.9, "seeds": False})
    assert without_seeds["rows"]["accepted"] > 0


def test_labels_are_compared_with_gold_labels_and_low_agreement_is_advisory(tmp_path: Path) -> None:
    seeds = [{"prompt": f"message number {n} of a customer", "kind": "refund" if n % 2 else "delivery"} for n in range(80)]
    (tmp_path / "labelled.jsonl").write_text("".join(json.dumps(row) + "\n" for row in seeds))
    document = {
        "name": "labels",
        "seeds": str(tmp_path / "labelled.jsonl"),
        "recipe": {"name": "label", "labels": ["refund", "delivery"], "gold": "kind"},
        "models": {"teacher": {"engine": "scripted", "license": "mit", "terms": "For tests alone."}},  # answers at random
        "dedup": {"near": False},
        "split": {"fractions": {"train": 1.0}, "group_at": None},
        "output": str(tmp_path / "labels"),
        "cluster": {"engine": "local"},
    }
    gold = synth_ray.run(document).manifest["gold"]
    rows = duckdb.sql(
        f"select avg(matches_gold::int), count(*) from read_parquet('{tmp_path}/labels/data/**/*.parquet')"
    ).fetchall()
    assert (gold["observed"], gold["rows"]) == (round(rows[0][0], 4), rows[0][1]) == (pytest.approx(rows[0][0]), 80)
    assert gold["advisory"]
    assert gold["low"] < gold["kappa"] < gold["high"]
    card = (tmp_path / "labels" / "README.md").read_text()
    assert "80 accepted rows have a human label" in card
    assert "| the teacher | mit |" in card
    assert "| terms of its answers | For tests alone. |" in card
    assert "**Advice only:**" in card
