"""The models that come with the package are found, whole, and travel in the wheel."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from synth_ray.errors import MissingResource
from synth_ray.job import bundled
from synth_ray.job.bundled import bundled_teacher_path, bundled_thinker_path
from tests.conftest import ROOT, TINY_TEACHER, TINY_THINKER

MOST_BYTES = 8_000_000


def test_each_model_is_found_small_and_whole() -> None:
    assert bundled_teacher_path() == TINY_TEACHER
    assert bundled_thinker_path() == TINY_THINKER
    for folder in (TINY_TEACHER, TINY_THINKER):
        files = {file.name: file.stat().st_size for file in folder.iterdir()}
        assert files.keys() >= {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja", "README.md"}
        assert sum(files.values()) < MOST_BYTES


def test_the_wheel_carries_each_model_to_where_it_is_looked_for() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert build["force-include"] == {
        "models/tiny-teacher": "synth_ray/_tiny_teacher",
        "models/tiny-thinker": "synth_ray/_tiny_thinker",
    }


def test_an_installed_model_comes_before_the_checkouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundled, "_PACKAGE", tmp_path / "synth_ray")
    with pytest.raises(MissingResource, match=r"the bundled tiny thinker: wanted it in .*_tiny_thinker or .*tiny-thinker, got"):
        bundled_thinker_path()
    for place in (tmp_path / "models" / "tiny-thinker", tmp_path / "synth_ray" / "_tiny_thinker"):
        place.mkdir(parents=True)
        (place / "config.json").write_text("{}")
        assert bundled_thinker_path() == place
