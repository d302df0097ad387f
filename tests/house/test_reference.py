"""The reference pages say what the code says."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from synth_ray.job.document import Job
from synth_ray.recipes.catalogue import BUILT_IN, find
from synth_ray.records import FAILED, Reason
from synth_ray.report.reasons import ENTRIES
from tests.house.test_house import ROOT

GENERATOR = runpy.run_path(str(ROOT / "docs" / "generate.py"))
PAGES: dict[str, str] = GENERATOR["pages"]()


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_the_one_that_is_committed(name: str) -> None:
    committed = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert committed == PAGES[name], f"docs/reference/{name} is not what the code says: run `make docs-reference` and commit it"


def keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield prefix + (field.alias or name)
        for inner in GENERATOR["_models_in"](field.annotation):
            yield from keys_of(inner, f"{prefix}{name}.")


def test_every_key_of_the_job_and_of_every_recipe_has_a_row() -> None:
    for name in keys_of(Job):
        assert f"| `{name.rsplit('.', 1)[-1]}` |" in PAGES["job.md"]
    for recipe in BUILT_IN:
        for name in keys_of(find(recipe).options):
            assert f"| `{name.rsplit('.', 1)[-1]}` |" in PAGES["recipes.md"]


def test_every_reason_is_explained_and_a_slot_never_fails_in_the_seeds() -> None:
    assert list(ENTRIES) == list(Reason)
    for reason, one in ENTRIES.items():
        assert one.stages
        assert one.meaning.endswith(".") and one.advice.endswith(".")
        assert reason not in FAILED or set(one.stages) <= {"ask", "recipe"}


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.value)
def test_keys_that_the_advice_names_are_keys(reason: Reason) -> None:
    known = {*keys_of(Job), *(f"recipe.{key}" for recipe in BUILT_IN for key in keys_of(find(recipe).options))}
    named = [name for name in re.findall(r"`([^`]+)`", ENTRIES[reason].advice) if re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", name)]
    assert [name for name in named if name not in known] == []


def test_links_within_a_page_lead_to_its_headings() -> None:
    for page in PAGES.values():
        anchors = {_anchor(heading) for heading in re.findall(r"^#+ (.+)$", page, re.MULTILINE)}
        assert set(re.findall(r"\]\(#([^)]+)\)", page)) <= anchors


def _anchor(heading: Any) -> str:
    return re.sub(r"[^\w\s-]", "", heading).strip().lower().replace(" ", "-")
