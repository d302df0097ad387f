"""The README and docs are right: commands exist, example jobs are valid, links resolve and the example recipe runs."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import yaml

import synth_ray
from synth_ray.cli.arguments import parser
from synth_ray.job.load import job_from
from tests.house.test_house import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs" / "cluster").glob("*.md"))]


def blocks(page: Path, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def test_the_readmes_job_is_valid() -> None:
    [text] = blocks(ROOT / "README.md", "yaml")
    assert job_from(yaml.safe_load(text)).recipe.options == {"n": 2}


@pytest.mark.parametrize("path", sorted((ROOT / "jobs").glob("*.yaml")), ids=lambda p: p.name)
def test_every_example_job_is_valid_with_its_recipes_options(path: Path) -> None:
    from synth_ray.job.load import load_job
    from synth_ray.recipes.catalogue import options_of

    options_of(load_job(path).recipe, file=str(path))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_command_in_the_docs_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for block in blocks(page, ""):
        for line in block.splitlines():
            words = line.split("#")[0].split()
            if words[:1] == ["synth-ray"]:
                parser().parse_args(words[1:])
            elif words[:1] == ["make"]:
                assert words[1] in targets or (ROOT / "bench" / f"{words[1].removeprefix('bench-')}.py").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_relative_link_resolves(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", page.read_text())
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_the_example_recipe_of_the_docs_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [text] = blocks(ROOT / "docs" / "recipes.md", "python")
    (tmp_path / "my_recipes").mkdir()
    (tmp_path / "my_recipes" / "haiku.py").write_text(text)
    (tmp_path / "seeds.jsonl").write_text('{"prompt": "rain"}\n{"prompt": "a lamp"}\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    document = {
        "name": "haiku",
        "seeds": str(tmp_path / "seeds.jsonl"),
        "recipe": {"name": "my_recipes.haiku", "lines": 2},
        "models": {"teacher": {"engine": "scripted"}},
        "split": {"fractions": {"train": 1.0}},
        "output": str(tmp_path / "out"),
        "cluster": {"engine": "local"},
    }
    assert synth_ray.run(document).manifest["rows"]["accepted"] == 2
    sys.modules.pop("my_recipes.haiku")
