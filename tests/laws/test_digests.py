"""The same job makes the same dataset in every version: digests of jobs to copy, run and curated, are those kept here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.digests import ROOT, digests

KEPT: dict[str, Any] = json.loads(Path(__file__).with_name("digests.json").read_text())


@pytest.mark.parametrize("name", ["build", "fill", "judged", "quickstart", "stand_in"])
def test_a_job_makes_the_dataset_it_made_before(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that means to alter rows writes the file again: `python -m bench.digests > tests/laws/digests.json`."""
    monkeypatch.chdir(ROOT)
    assert digests([name]) == {name: KEPT[name]}
