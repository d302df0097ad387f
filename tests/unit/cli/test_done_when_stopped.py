"""`run --done-when-stopped`: a scheduler that repeats what failed is told 0 where another start would change nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from synth_ray.cli.main import main
from tests.child_processes import line_of


def job_file(tmp_path: Path, **keys: Any) -> str:
    document = {
        "name": "done",
        "seeds": str(tmp_path / "seeds.jsonl"),
        "recipe": {"name": "distill"},
        "models": {"teacher": {"engine": "scripted"}},
        "split": {"fractions": {"train": 1.0}},
        "output": str(tmp_path / "out"),
        "cluster": {"engine": "local"},
    }
    (tmp_path / "seeds.jsonl").write_text("".join(json.dumps({"prompt": f"question {n}"}) + "\n" for n in range(40)))
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(document | keys))
    return str(file)


SLOW = {"models": {"teacher": {"engine": "scripted", "script": {"latency_s": 0.5, "concurrency": 1}}}}


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ({"recipe": {"name": "no_such_recipe"}}, 2),
        ({"gates": ["accepted >= 1000"]}, 3),
        ({"budget": {"max_seconds": 1.0}, **SLOW}, 4),
    ],
)
def test_what_needs_a_person_ends_with_0_and_says_its_own_code(
    tmp_path: Path, keys: dict[str, Any], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", job_file(tmp_path, **keys), "--quiet"]
    assert main(command) == code
    capsys.readouterr()
    assert main([*command, "--done-when-stopped"]) == 0
    assert f"ends with 0 instead of {code} (--done-when-stopped)" in capsys.readouterr().err
    assert main([*command, "--done-when-stopped", "--log", "json"]) == 0
    last = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert (last["event"], last["exit_code"]) == ("done", code)


def test_success_is_not_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", job_file(tmp_path), "--quiet", "--done-when-stopped"]) == 0
    assert "--done-when-stopped" not in capsys.readouterr().err


def test_a_run_that_is_told_to_end_keeps_its_code_so_that_another_start_goes_on(tmp_path: Path) -> None:
    """A node that is emptied ends the driver: the scheduler must start it again elsewhere."""
    command = [sys.executable, "-m", "synth_ray.cli.main", "run", job_file(tmp_path, **SLOW), "--done-when-stopped"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env={**os.environ, "SYNTH_RAY_LOG": "json"}
    )
    line_of(process, having='"progress"')
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=240)
    assert process.returncode == 4
