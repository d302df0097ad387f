"""The tutorial as it stands: its commands and its Python run in order, in an empty folder, and print what the page shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from synth_ray.cli.machine import OPENAI_KEY_VARIABLE, MachineKind, kind_of_machine
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "first-dataset.md"
COMMANDS = 'synth-ray() { python -m synth_ray.cli.main "$@"; }; python() { "$PYTHON" "$@"; }; set -e\n'
"""The commands of an installed package, of this checkout."""


class Block(NamedTuple):
    kind: str
    text: str
    output: list[str]
    """Lines that the page says it prints, without the teacher's own words, which are indented: they differ by processor."""


def blocks() -> Iterator[Block]:
    fences = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    for (kind, text), (next_kind, next_text) in pairwise([*fences, ("", "")]):
        if kind in ("sh", "python"):
            lines = next_text.splitlines() if next_kind == "text" else []
            yield Block(kind, text, [line for line in lines if line.strip(" …") and not line.startswith("    ")])


def normalise(line: str) -> str:
    """A line without what differs from run to run: numbers and the length of bars."""
    return re.sub(r"\d+(?:[.,]\d+)*", "N", re.sub(r"[█\s]+", " ", line)).strip()


def is_printed(shown: str, lines: list[str]) -> bool:
    """`…` in a shown line stands for anything."""
    pattern = ".*".join(re.escape(part.strip()) for part in normalise(shown).split("…"))
    return any(re.fullmatch(pattern, line) for line in lines)


@pytest.mark.vllm
def test_the_tutorial_works_as_it_stands(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != OPENAI_KEY_VARIABLE}
    environment |= {"PYTHONPATH": str(ROOT), "PYTHON": sys.executable, "HF_DATASETS_CACHE": str(tmp_path / "cache")}
    if kind_of_machine(environment) is MachineKind.GPU:
        pytest.skip("the page shows a machine without a GPU")
    folder, place = tmp_path / "empty", tmp_path / "place"
    folder.mkdir()
    for kind, text, output in blocks():
        command = ["bash", "-c", f"{COMMANDS}{text}pwd > {place}"] if kind == "sh" else [sys.executable, "-c", text]
        process = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert process.returncode == 0, f"{text}\n{process.stderr[-3000:]}"
        lines = [normalise(line) for line in process.stdout.splitlines()]
        missing = [line for line in output if not is_printed(line, lines)]
        assert not missing, f"{text}\n{process.stdout}"
        folder = Path(place.read_text().strip())
    assert (folder / "out" / "my-first-dataset" / "manifest.json").is_file()
