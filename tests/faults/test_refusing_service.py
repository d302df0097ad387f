"""A service that refuses every ask, as when credit is used up: the run stops, nothing fails, and the same command goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import synth_ray
from synth_ray.storage import open_storage
from tests.route.test_route import SCRIPT, job

PLAN = {"requests": 120, "chunk_requests": 40, "window_chunks": 3}


def refusing_job(folder: Path, engine: str, script: dict[str, Any]) -> dict[str, Any]:
    cluster = {"engine": engine, "teachers": 2, "cpus_per_teacher": 0.5}
    return job(
        folder, str(folder / "out"), plan=PLAN, cluster=cluster, models={"teacher": {"engine": "scripted", "script": script}}
    )


@pytest.mark.parametrize("engine", ["local", pytest.param("ray", marks=pytest.mark.ray)])
def test_a_refusing_service_stops_the_run_and_the_same_command_goes_on_from_there(tmp_path: Path, engine: str) -> None:
    out = tmp_path / "out"
    short = synth_ray.run(refusing_job(tmp_path, engine, {**SCRIPT, "refuse_after": 30}))
    assert "script.refuse_after" in short.stopped
    assert (short.manifest["complete"], short.manifest["rows"]["failed"].get("engine_error", 0)) == (False, 0)
    journalled = list(open_storage(str(out)).list("_synth/asks/"))
    assert journalled, "what was answered before the refusal is kept"
    done = synth_ray.run(refusing_job(tmp_path, engine, SCRIPT))
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    assert done.manifest["dataset_digest"] == synth_ray.run(refusing_job(fresh, "local", SCRIPT)).manifest["dataset_digest"]
    assert json.loads((out / "manifest.json").read_text())["complete"]
