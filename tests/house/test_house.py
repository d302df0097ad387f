"""House rules that a test can check: imports, the frozen command line, docstrings and file lengths."""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.util
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from synth_ray.cli.arguments import parser

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "synth_ray"
COMMANDS = {
    "init": {"folder", "--recipe"},
    "check": {"job", "--set", "--engine", "--address", "--output", "--schema"},
    "plan": {"job", "--set", "--engine", "--address", "--output", "--like"},
    "preview": {"job", "--set", "--engine", "--address", "--output", "--rows", "--prompts-only", "--raw"},
    "tune": {"job", "--set", "--engine", "--address", "--output", "--requests", "--try", "--write"},
    "curate": {"job", "--set", "--engine", "--address", "--output", "--log", "--junit"},
    "run": {
        "job", "--set", "--engine", "--address", "--output", "--extend", "--retry-failed", "--quiet", "--log", "--junit",
        "--done-when-stopped", "--part",
    },
    "status": {"prefix"},
    "show": {"prefix", "id", "--text", "--reason", "--split", "-n"},
    "view": {"prefix", "--port", "--no-browser"},
    "gc": {"prefix", "--what", "--older-than-hours", "--delete"},
    "report": {"prefix", "--json", "--against", "--gate", "--junit", "--push", "--with-rejected"},
    "export": {"prefix", "--format", "--to", "--catalog", "--partial", "--thoughts", "--student"},
    "sample": {"prefix", "-n", "--by", "--rejected", "--format", "--to", "--verdicts", "--gold"},
    "eval": {
        "cases", "--split", "--field", "--limit", "--by", "--verify", "--target", "--model", "--key-env", "--judge",
        "--judge-model", "--judge-key-env", "--rubric", "--system", "--temperature", "--max-tokens", "--in-flight", "--timeout",
        "--output", "--baseline", "--tolerance", "--write-baseline", "--min-pass-rate", "--fresh", "--json",
    },
    "submit": {
        "job", "--address", "--set", "--output", "--no-wait", "--attach", "--extend", "--retry-failed", "--log", "--python",
        "--driver-cpus", "--driver-label", "--env", "--with", "--with-package", "--shared-output", "--render", "--values",
    },
    "stop": {"id", "--address", "--no-wait"},
}  # fmt: skip


def imported_by(code: str) -> set[str]:
    completed = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(' '.join(sys.modules))"], capture_output=True, text=True, check=True
    )
    return {name.split(".")[0] for name in completed.stdout.splitlines()[-1].split()}


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        (
            "from synth_ray.cli.arguments import parser; parser().format_help()",
            {"ray", "vllm", "torch", "presidio_analyzer", "pyarrow"},
        ),
        ("import synth_ray.job.load", {"ray", "vllm", "torch", "presidio_analyzer", "numba"}),
        ("import synth_ray.cluster.actors", {"vllm", "torch", "presidio_analyzer", "numba", "scipy", "pandas"}),
        ("import synth_ray.drive.driver, synth_ray.workers.local_pool", {"ray", "vllm", "torch"}),
    ],
)
def test_light_modules_import_no_heavy_package(code: str, heavy: set[str]) -> None:
    assert not imported_by(code) & heavy


def test_the_command_line_is_frozen() -> None:
    commands = next(a for a in parser()._actions if isinstance(a, argparse._SubParsersAction)).choices
    options = {
        name: {(a.option_strings or [a.dest])[-1] for a in command._actions if a.dest != "help"}
        for name, command in commands.items()
    }
    assert options == COMMANDS


@pytest.mark.parametrize("package", sorted(p.parent for p in PACKAGE.rglob("*/__init__.py")), ids=lambda p: p.name)
def test_every_package_docstring_states_its_input_output_law_and_limits(package: Path) -> None:
    docstring = ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or ""
    for word in ("In:", "Out:", "Law:", "Not:"):
        assert word in docstring, f"{package.name}: no '{word}'"


@pytest.mark.parametrize("room", sorted(p.parent for p in PACKAGE.rglob("*/__init__.py")), ids=lambda p: p.name)
def test_the_public_names_of_a_room_are_there(room: Path) -> None:
    package = ".".join(room.relative_to(ROOT).parts)
    docstring = ast.get_docstring(ast.parse((room / "__init__.py").read_text())) or ""
    _, _, public = docstring.partition("Public: ")
    names = re.findall(r"`([A-Za-z_.]+)`", public)
    assert names, f"{package}: its docstring names nothing public"
    for name in names:
        module, _, attribute = f"{package}.{name}".rpartition(".")
        imported = importlib.import_module(module)
        assert hasattr(imported, attribute) or importlib.util.find_spec(f"{module}.{attribute}"), f"{package}: no {name}"


def test_no_file_is_long() -> None:
    too_long = {str(p.relative_to(ROOT)): n for p in PACKAGE.rglob("*.py") if (n := len(p.read_text().splitlines())) > 300}
    assert not too_long


def test_no_function_is_long_or_wide() -> None:
    """At most 45 lines and 7 parameters: beyond that a function is split, or given a value to carry."""
    large = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1  # type: ignore[operator]
                names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
                parameters = len([name for name in names if name not in ("self", "cls")])
                if lines > 45 or parameters > 7:
                    large.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines} lines, {parameters} parameters")
    assert not large


def test_the_public_names_are_declared_in_all() -> None:
    import synth_ray

    assert {name for name in vars(synth_ray) if name in synth_ray.__all__} == set(synth_ray.__all__)


def test_every_reason_is_raised_by_some_test() -> None:
    from synth_ray.records import Reason

    text = "\n".join(p.read_text() for p in (ROOT / "tests").rglob("*.py"))
    missing = [r.value for r in Reason if r.value not in text and f"Reason.{r.name}" not in text]
    assert not missing


def test_no_two_test_files_have_one_name() -> None:
    """Without packages among the tests, pytest refuses to collect both."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, n in names.items() if n > 1] == []
