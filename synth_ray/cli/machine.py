"""What this machine can ask: a GPU's engine, a provider, or the teacher that comes with the package."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

OPENAI_KEY_VARIABLE = "OPENAI_API_KEY"
_DEVICES = Path("/dev")


class MachineKind(StrEnum):
    """Kinds of machine, by the teacher that suits each."""

    GPU = "gpu"
    ENDPOINT = "endpoint"
    TINY = "tiny"


def kind_of_machine(environment: Mapping[str, str], *, devices: Path = _DEVICES) -> MachineKind:
    """A GPU comes before a key, because its tokens cost nothing extra. Imports no framework, so it is quick."""
    if _has_gpu(environment, devices):
        return MachineKind.GPU
    return MachineKind.ENDPOINT if environment.get(OPENAI_KEY_VARIABLE) else MachineKind.TINY


def _has_gpu(environment: Mapping[str, str], devices: Path) -> bool:
    """A device of NVIDIA's driver, or, where devices have other names (WSL), a GPU that `nvidia-smi` lists."""
    return any(devices.glob("nvidia[0-9]*")) or _answer(environment, "-L").startswith("GPU ")


def gpu_name(environment: Mapping[str, str]) -> str:
    """The name of the first GPU of this machine, as its driver tells it; empty without one."""
    lines = _answer(environment, "--query-gpu=name", "--format=csv,noheader").splitlines()
    return lines[0].strip() if lines else ""


def _answer(environment: Mapping[str, str], *options: str) -> str:
    """What `nvidia-smi` says; nothing where there is none, or it cannot answer."""
    tool = shutil.which("nvidia-smi", path=environment.get("PATH"))
    if tool is None:
        return ""
    try:
        said = subprocess.run([tool, *options], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return said.stdout if said.returncode == 0 else ""
