"""`synth-ray init`: a job that this machine can run, and a few seeds to start from."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from synth_ray.cli.machine import OPENAI_KEY_VARIABLE, MachineKind, kind_of_machine
from synth_ray.cli.starters import DEFAULT_RECIPE, starter
from synth_ray.errors import JobError
from synth_ray.job.bundled import bundled_teacher_path

_TEACHER_BY_MACHINE = {
    MachineKind.GPU: "Qwen/Qwen3-8B in vLLM, because this machine has a GPU",
    MachineKind.ENDPOINT: f"gpt-4.1-mini at OpenAI, because {OPENAI_KEY_VARIABLE} is set and no GPU was found",
    MachineKind.TINY: "the bundled tiny teacher in vLLM on the CPU, because no GPU was found and "
    f"{OPENAI_KEY_VARIABLE} is not set",
}
_TOO_HARD = ("rewrite", "prefer")
"""Recipes at which the tiny teacher fails on every row, as the checks should find."""


def main(arguments: argparse.Namespace) -> int:
    folder, recipe = Path(arguments.folder), arguments.recipe or DEFAULT_RECIPE
    kind = kind_of_machine(os.environ)
    files = {folder / name: text for name, text in starter(recipe, kind, teacher=bundled_teacher_path()).items()}
    existing = [str(path) for path in files if path.exists()]
    if existing:
        raise JobError(f"init: wanted an empty place, got {', '.join(existing)}; give another folder")
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
        print(path)
    print(f"teacher: {_teacher(recipe, kind)}")
    print("next:")
    for line in _next(folder):
        print(f"  {line}")
    return 0


def _teacher(recipe: str, kind: MachineKind) -> str:
    """The teacher of the job, and why this one."""
    if recipe == "build":
        return "none, because this recipe asks no model"
    if kind is MachineKind.TINY and recipe in _TOO_HARD:
        return f"{_TEACHER_BY_MACHINE[kind]}; {recipe} is too hard for it: expect no accepted rows"
    return _TEACHER_BY_MACHINE[kind]


def _next(folder: Path) -> Iterator[str]:
    """The commands to type next. A job's paths are relative to where its command is typed, so the folder comes first."""
    if folder.resolve() != Path.cwd():
        yield f"cd {shlex.quote(str(folder))}"
    for command in ("check", "preview", "run"):
        yield f"synth-ray {command} job.yaml"
