"""A run says what its rows are good for, and how often the teacher was wrong, in numbers that a gate can ask for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import synth_ray
from synth_ray.job.load import job_from
from synth_ray.prepare.preparation import prepare
from synth_ray.publish.classes import class_columns
from synth_ray.quality.usefulness import SHOWN
from tests.docstrings import labelled_docstrings

SUMS = [
    "{{ words }} so 12 + 12 = 24",
    "{{ words }} so 20 - 5 = 15",
    "{{ words }} so 12 + 12 = 25",
    "I'm sorry, I can't help with that.",
]


def written(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def job(folder: Path, seeds: list[dict[str, Any]], recipe: Any, answers: list[str], **more: Any) -> dict[str, Any]:
    return {
        "name": "useful",
        "seeds": {"path": written(folder / "seeds.jsonl", seeds)} | more.pop("source", {}),
        "recipe": recipe,
        "models": {"teacher": {"engine": "scripted", "script": {"answers": answers, "words": 8}}},
        "dedup": {"threshold": 0.95},
        "scrub": {"seeds": False},
        "split": {"fractions": {"train": 1.0}, "group_at": None},
        "output": str(folder / "out"),
        "cluster": {"engine": "local"},
    } | more


def labelled(each: int, *, start: int = 0) -> list[dict[str, Any]]:
    """Rows whose class is a number, 0 among them, as public datasets have it."""
    rows = labelled_docstrings(each, start=start)
    names = sorted({row.label for row in rows})
    return [{"text": row.text, "intent": names.index(row.label)} for row in rows]


FILL = {"name": "fill", "by": "intent", "template": "{{ prompt }}", "shots": 0}
MAPPED = {"fields": {"prompt": "text", "answer": "name", "intent": "intent"}}


def filled(folder: Path, **more: Any) -> dict[str, Any]:
    seeds = [row | {"name": f"class {row['intent']}"} for row in labelled(40)]
    document = job(folder, seeds, FILL, ["{{ prompt }} {{ words }}"], source=MAPPED, **more)
    return synth_ray.run(document).manifest


def test_labelled_rows_are_measured_against_unseen_real_ones(tmp_path: Path) -> None:
    unseen = [row | {"name": f"class {row['intent']}"} for row in labelled(40, start=40)]
    reference = {"path": written(tmp_path / "unseen.jsonl", unseen)} | MAPPED
    gates = ["tstr.macro_f1 >= 0.2", "perplexity.ratio >= 0.7", "label_noise.share <= 0.2"]
    manifest = filled(tmp_path, quality={"reference": reference}, gates=gates)
    tstr = manifest["tstr"]
    assert tstr["train_rows"] == pytest.approx(manifest["rows"]["accepted"], abs=5)
    assert tstr["macro_f1"] == pytest.approx(tstr["real"]["macro_f1"], abs=0.2)
    assert {fact["class"] for fact in tstr["classes"]} == {f"class {n}" for n in range(8)}
    assert manifest["perplexity"]["ratio"] == pytest.approx(1, abs=0.3)  # real text, with some made-up words
    assert "note" not in tstr


def test_the_seeds_serve_where_nothing_else_is_named_and_rows_made_from_a_tested_one_do_not_train(tmp_path: Path) -> None:
    manifest = filled(tmp_path)
    assert manifest["reference"]["source"] == "seeds"
    assert manifest["tstr"]["note"] == SHOWN
    assert manifest["tstr"]["train_rows"] == pytest.approx(manifest["tstr"]["real"]["train_rows"], abs=20)
    assert manifest["tstr"]["train_rows"] < 0.6 * manifest["rows"]["accepted"]


def test_teacher_errors_are_counted_whether_or_not_they_reject(tmp_path: Path) -> None:
    seeds = [{"prompt": f"question {n}", "intent": n % 2} for n in range(200)]
    more = {"check": {"verify": "arithmetic"}, "recipe": {"name": "distill", "keep": ["intent"]}}
    manifest = synth_ray.run(job(tmp_path, seeds, "distill", SUMS) | more).manifest
    errors, rejected = manifest["teacher_errors"], manifest["rows"]["rejected"]
    wrong = errors["verifier"]["not_true"]
    assert (wrong["rows"], wrong["wrong"]) == (errors["answers"], rejected["not_true"]) == (200, rejected["not_true"])
    assert wrong["low"] < wrong["rate"] < wrong["high"]
    assert errors["verifier"]["refusal"]["wrong"] == rejected["refusal"]
    assert errors["verifier"]["echo"]["wrong"] == 0
    assert {name: counts["rows"] for name, counts in errors["by_class"].items()} == {"0": 100, "1": 100}
    assert sum(counts["wrong"] for counts in errors["by_class"].values()) == rejected["not_true"] + rejected["refusal"]

    kept = more["check"] | {"drop": ["refusal"]}
    again = job(tmp_path, seeds, "distill", SUMS) | more | {"check": kept, "output": str(tmp_path / "kept")}
    assert synth_ray.run(again).manifest["teacher_errors"] == errors


def test_labels_are_compared_with_gold_by_class(tmp_path: Path) -> None:
    """The scripted teacher votes at random."""
    seeds = [{"prompt": f"a text of number {n}", "truth": "ab"[n % 2]} for n in range(120)]
    recipe = {"name": "label", "labels": ["a", "b"], "gold": "truth"}
    manifest = synth_ray.run(job(tmp_path, seeds, recipe, ["a"])).manifest
    gold, by_class = (manifest["teacher_errors"][name] for name in ("verifier", "gold_by_class"))
    assert gold["gold"]["rate"] == pytest.approx(1 - manifest["gold"]["observed"], abs=1e-4)
    assert {name: counts["rows"] for name, counts in by_class.items()} == {"a": 60, "b": 60}
    assert sum(counts["wrong"] for counts in by_class.values()) == gold["gold"]["wrong"]
    assert manifest["tstr"]["high"] < 0.8


def test_unlabelled_rows_say_what_is_missing(tmp_path: Path) -> None:
    manifest = synth_ray.run(job(tmp_path, [{"prompt": f"question {n}"} for n in range(40)], "distill", ["{{ words }}"])).manifest
    for name in ("tstr", "perplexity", "label_noise"):
        assert "wanted" in manifest[name]["not_measured"]
    off = job(tmp_path, [{"prompt": "one"}], "distill", ["{{ words }}"], quality={"measure": False}, output=str(tmp_path / "off"))
    assert synth_ray.run(off).manifest["tstr"] == {}


TOPICS = {"properties": {"topic": {"enum": ["x", "y"]}}}
COMPLETION = ("completion",)
FIELDS = ("label", "category", "class", "intent")


@pytest.mark.parametrize(
    ("recipe", "more", "columns"),
    [
        ({"name": "label", "labels": ["a", "b"]}, {}, COMPLETION),
        ({"name": "label", "schema": {"type": "object"}}, {}, FIELDS),
        ({"name": "fill", "by": "topic"}, {}, COMPLETION),
        ({"name": "fill", "by": "topic", "answer": "{{ example }}?"}, {}, ("topic", *FIELDS)),
        ({"name": "vary"}, {}, FIELDS),
        ({"name": "vary"}, {"check": {"verify": "label", "labels": ["a", "b"]}}, COMPLETION),
        ({"name": "vary", "keep": ["topic"]}, {"quality": {"label": "topic"}}, ("topic",)),
        ({"name": "distill", "keep": ["topic"]}, {"target": {"accepted": 2, "balance": {"by": "topic", "shares": "equal"}}},
         (*FIELDS, "topic")),
        ({"name": "distill"}, {"split": {"fractions": {"train": 1.0}, "stratify": "topic"}}, (*FIELDS, "topic")),
        ({"name": "stand_in", "record": ["topic", "text"], "rarer_than": 1, "schema": TOPICS}, {}, (*FIELDS, "topic")),
    ],
)  # fmt: skip
def test_where_the_class_of_a_row_is(tmp_path: Path, recipe: Any, more: dict[str, Any], columns: tuple[str, ...]) -> None:
    seeds = [{"prompt": f"text {n}", "answer": "x", "topic": "xy"[n % 2], "text": f"some longer text {n}"} for n in range(20)]
    prepared = prepare(job_from(job(tmp_path, seeds, recipe, ["a"], **more)), spool=tmp_path)
    assert class_columns(prepared) == columns


def test_of_copied_rows_only_the_labels_are_looked_at(tmp_path: Path) -> None:
    rows = [{"prompt": row.text, "answer": row.label, "category": row.label} for row in labelled_docstrings(60)]
    for row, other in zip(rows[::12], rows[1::12], strict=False):
        row["category"] = other["category"]
    document = job(tmp_path, rows, "build", []) | {"models": "none"}
    manifest = synth_ray.run(document).manifest
    noise = manifest["label_noise"]
    assert (noise["rows"], noise["suspects"] > 0) == (manifest["rows"]["accepted"], True)
    assert not manifest["tstr"] and not manifest["narrowing"] and not manifest["reference"]
    assert not synth_ray.run(document | {"quality": {"measure": False}, "output": str(tmp_path / "other")}).manifest[
        "label_noise"
    ]
