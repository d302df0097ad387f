"""The quickstart with fewer requests: the real engine in a Ray actor, from the command line to a dataset that loads."""

from __future__ import annotations

import json
import re
from pathlib import Path

import datasets
import pytest

from synth_ray.cli.main import main
from tests.conftest import ROOT


@pytest.mark.vllm
@pytest.mark.ray
def test_the_quickstart_makes_a_dataset_that_loads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    out = str(tmp_path / "out")
    assert main(["run", "jobs/quickstart.yaml", "--quiet", "--output", out, "--set", "plan.requests=120"]) == 0
    assert "not_true" in capsys.readouterr().out
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    rows = manifest["rows"]
    assert rows["requested"] == 120 == rows["accepted"] + sum(rows["rejected"].values()) + sum(rows["failed"].values())
    assert manifest["tokens"]["completion"] > 1000
    assert manifest["pii"]["EMAIL_ADDRESS"] > 0
    assert manifest["versions"]["vllm"]
    loaded = datasets.load_dataset(out, cache_dir=str(tmp_path / "cache"))
    assert {name: len(split) for name, split in loaded.items()} == manifest["splits"]
    # The tiny teacher also writes text that only resembles an address, which this pattern does not match.
    address = re.compile(r"[\w.+-]+@[\w-]+\.[a-z]{2,}")
    assert not any(address.search(row["completion"]) for split in loaded.values() for row in split)
