"""`synth-ray init`: a job that this machine can run, and a few seeds to start from."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from synth_ray.cli.machine import KEY, Kind, kind_of_machine
from synth_ray.cli.starters import FIRST, starter
from synth_ray.errors import JobError
from synth_ray.job.bundled import bundled_teacher_path

_WHY = {
    Kind.GPU: "Qwen/Qwen3-8B by vLLM, for this machine has a GPU",
    Kind.ENDPOINT: f"gpt-4.1-mini at OpenAI's server, for {KEY} is set and no GPU is here",
    Kind.TINY: f"the bundled tiny one, by vLLM on the CPU, for no GPU is here and {KEY} is not set",
}


def main(arguments: argparse.Namespace) -> int:
    folder, recipe = Path(arguments.folder), arguments.recipe or FIRST
    kind = kind_of_machine(os.environ)
    files = {folder / name: text for name, text in starter(recipe, kind, teacher=bundled_teacher_path()).items()}
    there = [str(path) for path in files if path.exists()]
    if there:
        raise JobError(f"init: wanted an empty place, got {', '.join(there)}; give another folder")
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
        print(path)
    print(f"teacher: {'none, for this recipe asks nobody' if recipe == 'build' else _WHY[kind]}")
    print("next:")
    for line in _next(folder):
        print(f"  {line}")
    return 0


def _next(folder: Path) -> Iterator[str]:
    """Commands as they are to be typed: a job's paths count from where they are typed."""
    if folder.resolve() != Path.cwd():
        yield f"cd {shlex.quote(str(folder))}"
    for command in ("check", "preview", "run"):
        yield f"synth-ray {command} job.yaml"
