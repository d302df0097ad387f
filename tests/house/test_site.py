"""The documentation site builds, strictly, and needs nothing from elsewhere."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from synth_ray.dataset.manifest import Manifest
from synth_ray.dataset.schema import Provenance, RowShape
from synth_ray.job.models import Model, Models
from tests.house.test_house import ROOT

DOCS = ROOT / "docs"


def build(root: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(root / "mkdocs.yml")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run([*command, "--site-dir", str(folder)], capture_output=True, text=True, env=environment, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_every_page_is_in_the_strictly_built_site(site: Path) -> None:
    pages = {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")}
    assert {page for page in pages if not (site / page).is_file()} == set()


@pytest.mark.parametrize("text", ["[gone](gone.md)", "[gone](running.md#gone)", "[gone](/jobs.md)"])
def test_a_broken_link_or_anchor_fails_the_build(text: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    shutil.copytree(DOCS, tmp_path / "docs")
    with (tmp_path / "docs" / "speed.md").open("a", encoding="utf-8") as page:
        page.write(f"\n{text}\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    assert "speed.md" in done.stderr


def test_the_pages_load_nothing_from_elsewhere(site: Path) -> None:
    loads = re.compile(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=[\"']?(?:https?:)?//")
    assert [page.name for page in site.rglob("*.html") if loads.search(page.read_text(encoding="utf-8"))] == []


def test_every_column_and_every_key_of_the_manifest_is_explained() -> None:
    layout = (DOCS / "dataset-layout.md").read_text(encoding="utf-8")
    named = {name for line in layout.splitlines() for name in re.findall(r"`(\w+)`", line.split("|")[1] if "|" in line else "")}
    shape = RowShape(Provenance(Models(teacher=Model(engine="none")), recipe="", ask_digest=""))
    assert {*shape.rejected_schema.names, *Manifest.model_fields} - named == set()


def test_every_message_of_the_troubleshooting_page_is_one_of_the_program() -> None:
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8").partition("## It runs, and something is odd")[0]
    cells = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    pieces = [piece.strip(" :,`?").removeprefix("wanted ") for cell in cells for piece in re.split("…|` / `", cell.strip(" `"))]
    texts = texts_of_the_program()
    assert [piece for piece in pieces if len(piece) > 8 and piece not in texts] == []


def texts_of_the_program() -> str:
    """Every text of the package, one a line; what an f-string fills in is left out."""
    lines: list[str] = []
    for path in (ROOT / "synth_ray").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [one.value if isinstance(one, ast.Constant) else "…" for one in node.values]
                lines.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                lines.append(node.value)
    return "\n".join(lines)


def test_the_program_of_the_python_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (DOCS / "python-api.md").read_text(encoding="utf-8")
    [program] = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    (tmp_path / "questions.jsonl").write_text('{"prompt": "When is my parcel due?"}\n{"prompt": "Where is the shop?"}\n')
    monkeypatch.chdir(tmp_path)
    exec(compile(program, "python-api.md", "exec"), {})
    assert capsys.readouterr().out.startswith("out/support-answers\n")
