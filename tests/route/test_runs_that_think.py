"""Runs of a teacher that thinks: what it thought is checked, scrubbed and published with its row, and shown wherever rows are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import synth_ray
from synth_ray.cli.main import main
from synth_ray.dataset.examples import read_examples
from synth_ray.dataset.ledger import Ledger
from synth_ray.job.load import job_from
from synth_ray.route.curation import curate_job
from synth_ray.storage import open_storage

LOOP = "I look at it once more and then again. " * 30
ANSWERS = [
    *["<think>\nthey want {{ words }}, ask ann.lee@example-mail.com\n</think>\n\nall is well with {{ words }}"] * 6,
    "plain without any thought {{ words }}",
    f"<think>{LOOP}</think> round and round {{{{ words }}}}",
    "<think>one</think> first {{ words }} [THINK]two[/THINK] then {{ words }}",
    "<think>they wrote to ann.lee@example-mail.com</think> write to ann.lee@example-mail.com about {{ words }}",
]


def job(folder: Path, **more: Any) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    (folder / "seeds.jsonl").write_text("".join(json.dumps({"prompt": f"question number {n}?"}) + "\n" for n in range(300)))
    script = {"answers": ANSWERS, "truncate_share": 0.1}
    document: dict[str, Any] = {
        "name": "thoughts",
        "seeds": str(folder / "seeds.jsonl"),
        "recipe": {"name": "distill", "top_logprobs": 1},
        "models": {"teacher": {"engine": "scripted", "script": script, "reasoning": {}}},
        "split": {"fractions": {"train": 1.0}, "group_at": None},
        "output": str(folder / "out"),
        "cluster": {"engine": "local", "in_flight": 64},
    }
    return document | more


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("thinks")
    yield folder / "out", synth_ray.run(job(folder)).manifest


def accepted(out: Path) -> list[dict[str, Any]]:
    """The rows of the published version: the folder may have parts of an earlier one."""
    files = json.loads((out / "manifest.json").read_text())["files"]
    return [row for file in files for row in pq.read_table(out / file["path"]).to_pylist()]


def rejected(out: Path, reason: str) -> list[dict[str, Any]]:
    rows = [row for part in sorted(out.glob("rejected/*.parquet")) for row in pq.read_table(part).to_pylist()]
    return [row for row in rows if row["reason"] == reason]


def test_rows_have_their_thoughts_scrubbed_and_apart_from_the_answer(run: tuple[Path, dict[str, Any]]) -> None:
    out, manifest = run
    rows = accepted(out)
    assert len(rows) == manifest["rows"]["accepted"] > 150
    assert {"reasoning", "reasoning_tokens"} <= set(manifest["columns"])
    assert 0 < sum(row["reasoning"] is None for row in rows) < 60
    for row in rows:
        assert "think>" not in row["completion"] and row["messages"][-1]["reasoning"] == row["reasoning"]
        assert "ann.lee" not in json.dumps(row)
        if row["reasoning"] and "EMAIL" in row["reasoning"]:
            assert row["logprobs"] is None  # they would show the address that the thought had
            assert "EMAIL" not in row["completion"] or "<EMAIL_1>" in row["completion"]


def test_each_fault_of_a_thought_has_its_reason_and_they_add_up(run: tuple[Path, dict[str, Any]]) -> None:
    out, manifest = run
    found = manifest["rows"]["rejected"]
    assert {"truncated_thought", "thought_in_answer", "repetition_loop"} <= set(found)
    cut = rejected(out, "truncated_thought")
    assert len(cut) == found["truncated_thought"]
    assert all(row["completion"] == "" and row["reasoning"] and row["finish_reason"] == "length" for row in cut)
    assert {row["detail"] for row in rejected(out, "repetition_loop")} == {"repetition_loop in the thought"}
    assert all("[THINK]" in row["completion"] for row in rejected(out, "thought_in_answer"))
    ledger = Ledger(open_storage(str(out)))
    flags = [row for chunk in ledger.committed_chunks() for row in ledger.read_chunk(chunk)["flags"].to_pylist()]
    assert flags.count(["no_thought"]) == sum(row["reasoning"] is None for row in accepted(out)) > 0


def test_manifest_card_page_and_commands_show_what_was_thought(
    run: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    out, manifest = run
    assert manifest["thoughts"]["cut"] >= manifest["rows"]["rejected"]["truncated_thought"]
    assert manifest["thoughts"]["answers"] == 300
    lengths = manifest["profile"]["columns"]["reasoning_characters"]["synthetic"]
    assert lengths["rows"] == sum(row["reasoning"] is not None for row in accepted(out))
    shown = read_examples(open_storage(str(out)))
    assert any(turn.get("reasoning") for row in shown["accepted"] for turn in row["messages"])
    assert all(row["messages"][-1]["reasoning"] for row in shown["rejected"]["truncated_thought"])
    assert "assistant, thinking: they want" in (out / "README.md").read_text()
    page = (out / "report.html").read_text()
    assert '<details class="thought">' in page and "Answers cut off in their thought" in page
    assert "ann.lee" not in json.dumps(shown)  # which card and page show
    row = next(row for row in accepted(out) if row["reasoning"])
    assert main(["show", str(out), row["id"], "--text"]) == 0
    assert f"reasoning {row['reasoning']}" in capsys.readouterr().out


def test_staging_again_from_staged_text_keeps_the_thoughts(tmp_path: Path) -> None:
    document = job(tmp_path / "x")
    synth_ray.run(document)
    before = {row["id"]: row["reasoning"] for row in accepted(tmp_path / "x" / "out")}
    drop = ["truncated_thought", "no_thought", "empty_completion"]
    manifest = curate_job(job_from(document | {"check": {"thought_language": [], "drop": drop}})).manifest
    after = {row["id"]: row["reasoning"] for row in accepted(tmp_path / "x" / "out")}
    assert manifest["rows"]["rejected"]["no_thought"] > 0 and after and all(after.values())
    both = after.keys() & before.keys()
    assert len(both) > 100 and all(after[name] == before[name] for name in both)


@pytest.mark.parametrize("policy", ["drop", "only"])
def test_a_policy_of_the_job_decides_what_becomes_of_thoughts(tmp_path: Path, policy: str) -> None:
    manifest = synth_ray.run(job(tmp_path / "x", recipe={"name": "distill", "reasoning": policy})).manifest
    rows = accepted(tmp_path / "x" / "out")
    assert "reasoning" not in manifest["columns"]
    assert not any("think>" in row["completion"] or "reasoning" in row["fields"] for row in rows)
    if policy == "only":
        assert all(row["completion"].startswith(("they", "one")) for row in rows)
        assert manifest["rows"]["rejected"]["no_thought"] > 0
    else:
        assert manifest["rows"]["rejected"]["truncated_thought"] > 0 and "no_thought" not in manifest["rows"]["rejected"]


def test_a_seed_s_own_field_and_real_rows_beside_thoughts(tmp_path: Path) -> None:
    """A field `reasoning` that the recipe keeps stays in `fields`; a real row of the mix has its thought where rows have it."""
    real = [{"prompt": f"a real question {n * 7919}?", "answer": f"<think>so {n}</think> real answer {n * 31}"} for n in range(9)]
    document = job(tmp_path / "x", recipe={"name": "distill", "keep": ["reasoning"]}, mix={"real": str(tmp_path / "real.jsonl")})
    seeds = [{"prompt": f"question number {n}?", "reasoning": f"gold thought {n}"} for n in range(40)]
    for path, rows in ((tmp_path / "real.jsonl", real), (tmp_path / "x" / "seeds.jsonl", seeds)):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    synth_ray.run(document)
    rows = accepted(tmp_path / "x" / "out")
    own = [row for row in rows if row["origin"] == "real"]
    assert {row["completion"] for row in own} == {f"real answer {n * 31}" for n in range(9)}
    assert all(row["reasoning"].startswith("so ") and row["messages"][-1]["reasoning"] == row["reasoning"] for row in own)
    made = [row for row in rows if row["origin"] == "synthetic"]
    assert made and all(json.loads(row["fields"])["reasoning"].startswith("gold thought") for row in made)
    assert not any(row["reasoning"] and "gold" in row["reasoning"] for row in made)
