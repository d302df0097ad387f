"""What a run publishes about itself: prompts, sampling and filters, without secrets and without folders of this machine."""

from __future__ import annotations

import json
from pathlib import Path

import mlcroissant
import pytest
from huggingface_hub import DatasetCard

import synth_ray
from synth_ray.job.load import job_from
from synth_ray.route.curation import curate_job
from tests.route.test_route import job


def test_prompts_sampling_and_filters_are_published_and_curated_alike(tmp_path: Path) -> None:
    (tmp_path / "evals.jsonl").write_text(
        json.dumps({"prompt": "A question of an evaluation set that no row may ever quote."}) + "\n"
    )
    document = job(
        tmp_path,
        str(tmp_path / "out"),
        recipe={"instruct": "Write to jo.doe@mail.com a new task, as {{ prompt }}.", "system": "Be brief."},
        sampling={"temperature": 0.3, "stop": ["END"]},
        check={"language": [], "drop": ["echo", "truncated"], "min_tokens": 2},
        scrub={"deny": {"PERSON": ["Ann Somebody"]}, "allow": ["ok@mail.com"], "key_env": "A_KEY"},
        decontaminate={"against": [{"name": "held-out", "path": str(tmp_path / "evals.jsonl")}]},
    )
    manifest = synth_ray.run(document).manifest
    assert manifest["templates"] == {
        "system": "Be brief.",
        "instruct": "Write to <EMAIL_1> a new task, as {{ prompt }}.",
        "answer": "{{ instruction }}",
    }
    assert manifest["sampling"] == {"temperature": 0.3, "top_p": 1.0, "max_tokens": 512, "stop": ["END"]}
    filters = manifest["filters"]
    assert filters["check"] == {"drop": ["echo", "truncated"], "min_tokens": 2, "echo": 0.9}
    assert (filters["scrub"]["denied_values"], filters["scrub"]["allowed_values"]) == ({"PERSON": 1}, 1)
    assert filters["decontaminate"]["sets"] == ["held-out"]
    assert filters["dedup"]["threshold"] == 0.8 and filters["dedup"]["compares"] == ["prompt"]
    for word in ("Somebody", "ok@mail.com", "A_KEY", "jo.doe@mail.com", str(tmp_path)):
        assert word not in json.dumps([manifest["templates"], manifest["sampling"], filters])
    card = DatasetCard.load(tmp_path / "out" / "README.md")
    assert "Write to <EMAIL_1> a new task" in card.text and "| duplicates |" in card.text
    assert not mlcroissant.Dataset(jsonld=tmp_path / "out" / "croissant.json").metadata.ctx.issues.errors
    curated = curate_job(job_from(document | {"check": {"drop": ["echo"]}})).manifest
    assert curated["filters"]["check"]["drop"] == ["echo"]
    assert curated["templates"] == manifest["templates"]


def test_a_dataset_without_a_teacher_has_no_prompts_and_claims_no_synthetic_row(tmp_path: Path) -> None:
    document = job(tmp_path, str(tmp_path / "out"))
    for section in ("plan", "dedup"):
        del document[section]
    manifest = synth_ray.run(document | {"recipe": "build", "models": "none"}).manifest
    assert (manifest["templates"], manifest["sampling"]) == ({}, {})
    text = (tmp_path / "out" / "README.md").read_text()
    assert "made without a teacher" in text and "as real as these" in text and "### Prompts" not in text


@pytest.mark.parametrize("recipe", ["prefer", "converse"])
def test_the_recipe_decides_the_tags(tmp_path: Path, recipe: str) -> None:
    document = job(tmp_path, str(tmp_path / "out"))
    del document["dedup"]
    synth_ray.run(
        document
        | {"recipe": recipe, "models": {"teacher": document["models"]["teacher"], "judge": document["models"]["teacher"]}}
    )
    head = DatasetCard.load(tmp_path / "out" / "README.md").data
    assert {"prefer": "preference", "converse": "conversational"}[recipe] in head.tags
