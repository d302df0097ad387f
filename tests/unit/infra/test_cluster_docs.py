"""The pages on a cluster: every command is one, every file is there, every key of the values is explained."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from synth_ray.cli.arguments import parser
from synth_ray.submit.values import Values

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "docs" / "cluster" / f"{name}.md" for name in ("kubernetes", "security", "upgrade")]
COMMANDS = {
    "kubectl": {"apply", "create", "delete", "describe", "get", "kustomize", "logs", "port-forward", "rollout"},
    "helm": {"repo", "install", "upgrade"},
    "aws": {"iam"},
    "docker": {"build"},
}
OPTIONS = {
    "kubectl": {
        "--filename", "--follow", "--from-env-file", "--from-file", "--kustomize", "--namespace", "--selector", "--watch",
    },
    "helm": {"--create-namespace", "--namespace", "--version"},
    "aws": {"--policy-document", "--policy-name"},
    "docker": {"--file", "--tag", "--target"},
}  # fmt: skip


def blocks(page: Path, kind: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    return [text for found, text in fenced if found == kind]


def commands(page: Path) -> Iterator[list[str]]:
    for block in blocks(page, ""):
        for line in block.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                yield words[: words.index(">")] if ">" in words else words


def all_commands() -> list[Any]:
    return [pytest.param(words, id=" ".join(words)[:70]) for page in PAGES for words in commands(page)]


@pytest.mark.parametrize("words", all_commands())
def test_every_command_is_one(words: list[str]) -> None:
    program, *rest = words
    if program == "synth-ray":
        _check_own(rest)
    elif program == "ray":
        _check_ray(rest)
    elif program in COMMANDS:
        assert rest[0] in COMMANDS[program]
        assert {w.partition("=")[0] for w in rest if w.startswith("--")} <= OPTIONS[program]
    else:
        assert program in ("export", "envsubst", "make", "python"), program
        if program == "make":
            assert re.search(rf"^{rest[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for word in words:
        if word.startswith(("infra/", "jobs/", "docs/", "requirements/")):
            assert (ROOT / word).exists(), word


def _check_own(words: list[str]) -> None:
    parser().parse_args(words)


def _check_ray(words: list[str]) -> None:
    from ray.scripts.scripts import cli

    command: Any = cli
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    command.make_context(command.name, words, resilient_parsing=True)
    known = {option for parameter in command.params for option in parameter.opts}
    assert {w.partition("=")[0] for w in words if w.startswith("--")} <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_link_resolves_and_every_file_named_is_there(page: Path) -> None:
    text = page.read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []
    named = re.findall(r"`((?:infra|jobs|requirements)/[\w./-]+)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


def keys_of(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, info in section.model_fields.items():
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from keys_of(inner, f"{prefix}{name}.")
        else:
            yield prefix + name


def test_every_key_of_the_values_is_explained_once() -> None:
    rows = re.findall(r"^\| (`.*?`) \|", PAGES[0].read_text(), re.MULTILINE)
    explained = [key for row in rows for key in re.findall(r"`([a-z_.]+)`", row)]
    for key in keys_of(Values):
        assert explained.count(key) == 1, key


def test_the_values_on_the_page_are_those_of_the_sample() -> None:
    [shown] = blocks(PAGES[0], "yaml")
    assert yaml.safe_load(shown) == yaml.safe_load((ROOT / "infra" / "kuberay" / "sample" / "values.yaml").read_text())
    [network] = blocks(PAGES[1], "yaml")
    Values.model_validate(yaml.safe_load(network))


def test_the_pins_that_the_pages_name_are_the_projects() -> None:
    version = re.findall(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[0]
    assert f"synth-ray:{version}-cpu" in PAGES[0].read_text()
    base = (ROOT / "infra" / "kuberay" / "base" / "kustomization.yaml").read_text()
    assert f"newTag: {version}-cpu" in base and f"newTag: {version}-gpu" in base
    assert Values().image.cpu == f"synth-ray:{version}-cpu"
