"""The image's definition, as far as it can be checked without building it."""

from __future__ import annotations

import fnmatch
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[3]
IMAGE = ROOT / "infra" / "image"
TEXT = (IMAGE / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def instructions() -> list[tuple[str, str]]:
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^\s*#.*\n", "", TEXT, flags=re.MULTILINE))
    return [(line.split()[0], line.partition(" ")[2]) for line in joined.splitlines() if line.strip()]


def stages() -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for word, rest in instructions():
        if word == "FROM":
            found[rest.split(" AS ")[1]] = [(word, rest)]
        elif found:
            found[next(reversed(found))].append((word, rest))
    return found


def pins(file: Path) -> dict[str, str]:
    lines = (line.split("#")[0].strip() for line in file.read_text().splitlines())
    return dict(line.split("==") for line in lines if line)


def test_the_linter_finds_nothing() -> None:
    program = Path(sys.executable).with_name("hadolint")
    completed = subprocess.run([program, IMAGE / "Dockerfile"], capture_output=True, text=True)
    assert (completed.returncode, completed.stdout) == (0, "")


def test_every_copied_source_exists_and_is_sent_to_the_builder() -> None:
    ignored = (IMAGE / "Dockerfile.dockerignore").read_text().splitlines()
    sent = [line[1:] for line in ignored if line.startswith("!")]
    copied = [rest.split()[:-1] for word, rest in instructions() if word == "COPY" and "--from=" not in rest]
    sources = {source for group in copied for source in group}
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source in sent, f"{source} is ignored by the builder"
    assert sources == set(sent)
    assert ignored[1] == "*" and any(fnmatch.fnmatch("synth_ray/__pycache__", line) for line in ignored)


def test_both_targets_run_as_a_user_without_rights_and_have_the_same_base() -> None:
    for target in ("cpu", "gpu"):
        [user] = [rest for word, rest in stages()[target] if word == "USER"]
        assert re.fullmatch(r"[1-9][0-9]*:[1-9][0-9]*", user)
        assert stages()[target][0][1] == f"base AS {target}"


def test_the_last_layer_is_the_wheel_alone_and_the_environment_is_below_it() -> None:
    for target in ("cpu", "gpu"):
        layers = [rest for word, rest in stages()[target] if word in ("RUN", "COPY", "ADD")]
        assert layers[0] == f"--from={target}-environment /opt/env /opt/env"
        assert re.search(r"pip install --no-cache-dir --no-deps /wheels/\*\.whl$", layers[1]) and len(layers) == 2
        assert "synth_ray" not in str(stages()[f"{target}-environment"])


def test_python_is_one_that_the_project_takes_and_the_lock_was_made_for() -> None:
    [version] = re.findall(r"^ARG PYTHON=(3\.\d+)\.\d+-slim-\w+$", TEXT, re.MULTILINE)
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(version)
    assert f"--python-version {version}" in (ROOT / "Makefile").read_text()
    assert [rest for word, rest in instructions() if word == "FROM" and "python:" in rest] == ["python:${PYTHON} AS base"]


def test_both_locks_have_the_projects_own_ray_and_vllm() -> None:
    needs = {r.name: r for r in map(Requirement, PROJECT["dependencies"])}
    extras = {name: [*map(Requirement, given)] for name, given in PROJECT["optional-dependencies"].items()}
    for target, file in (("cpu", ROOT / "requirements" / "cpu.lock"), ("gpu", IMAGE / "gpu.lock")):
        pinned = pins(file)
        for need in [*needs.values(), *extras[target], *extras["clouds"], *extras["lake"], *extras["tools"]]:
            if need.name != "torch":
                assert need.specifier.contains(pinned[need.name.lower().replace("_", "-")]), need
    assert pins(ROOT / "requirements" / "cpu.lock")["ray"] == pins(IMAGE / "gpu.lock")["ray"]
    assert str(needs["ray"].specifier) == f"=={pins(IMAGE / 'gpu.lock')['ray']}"


def test_what_both_images_send_to_each_other_is_pickled_by_the_same_versions() -> None:
    """Actors of both images exchange numpy arrays, Arrow tables and pydantic documents."""
    cpu, gpu = pins(ROOT / "requirements" / "cpu.lock"), pins(IMAGE / "gpu.lock")
    for name in ("ray", "numpy", "pyarrow", "pydantic", "cloudpickle", "msgpack", "protobuf", "grpcio"):
        assert cpu.get(name) == gpu.get(name), name


def test_no_image_names_a_registry_or_brings_weights_or_keys() -> None:
    assert not re.search(r"FROM [\w.-]+\.[a-z]+/", TEXT)
    assert not re.search(r"snapshot_download|huggingface-cli|hf download|HF_TOKEN|AWS_", TEXT)
