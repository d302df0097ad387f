"""Whether several engines on a GPU are expected to pay: from a model's configuration, by what was measured."""

from __future__ import annotations

import json
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from bench.shapes import SHAPES
from synth_ray.ask.vllm.config_size import size_told
from synth_ray.cli.estimate import step_line
from synth_ray.job.document import Job
from synth_ray.job.models import Model
from synth_ray.prepare.estimate import Estimate
from synth_ray.prepare.interval import Interval
from synth_ray.prepare.several_engines import step_estimate
from tests.conftest import TINY_TEACHER

QWEN_1_7B, LLAMA_8B = SHAPES["qwen3-1.7b"], SHAPES["llama-8b"]


def model(folder: Path, config: dict[str, Any], **engine_args: Any) -> Model:
    (folder / "config.json").write_text(json.dumps(config))
    return Model(model=str(folder), engine_args=engine_args)


def asked(prompt: float, answer: float | None, *, most: float = 0.0, asks: int = 1000) -> Estimate:
    prompts = Interval.exactly(prompt * asks)
    answers = Interval.exactly(answer * asks) if answer is not None else Interval(0.0, None, most * asks)
    return Estimate(Interval.exactly(asks), asks, prompts, answers, None, None, "", "")


def job(teacher: Model, **cluster: Any) -> Job:
    models = {"teacher": teacher.model_dump()}
    return Job.model_validate(
        {"name": "step", "seeds": "s.jsonl", "recipe": "distill", "models": models, "output": "out", "cluster": cluster}
    )


def test_a_models_size_is_told_from_its_configuration(tmp_path: Path) -> None:
    with safe_open(TINY_TEACHER / "model.safetensors", "numpy") as weights:
        names = weights.keys()
        kept = sum(prod(weights.get_slice(name).get_shape()) for name in names)
    tiny = size_told(Model(model=str(TINY_TEACHER)))
    assert tiny is not None
    assert tiny.parameters == pytest.approx(kept, rel=0.01)
    small = size_told(model(tmp_path, QWEN_1_7B))
    assert small is not None
    assert small.parameters == pytest.approx(1.72e9, rel=0.01)
    assert (small.weight_bytes, small.kv_bytes) == (2 * small.parameters, 114_688)
    fp8 = size_told(model(tmp_path, LLAMA_8B, quantization="fp8", kv_cache_dtype="fp8"))
    assert fp8 is not None
    assert fp8.parameters == pytest.approx(8.03e9, rel=0.01)
    assert fp8.weight_bytes < 1.2 * fp8.parameters
    assert fp8.kv_bytes == 65_536


@pytest.mark.parametrize("unlike", [{"num_experts": 64}, {"kv_lora_rank": 512}, {"quantization_config": {"quant_method": "awq"}}])
def test_of_other_models_no_size_is_told(tmp_path: Path, unlike: dict[str, Any]) -> None:
    assert size_told(model(tmp_path, QWEN_1_7B | unlike)) is None
    assert size_told(Model(model="no-such/model")) is None
    assert size_told(Model(model=str(tmp_path / "elsewhere" / "model"))) is None


def test_the_step_that_was_measured_is_estimated_as_its_roofline_was(tmp_path: Path) -> None:
    """docs/speed.md: 512 sequences of 355 and 244 tokens on an H200; their roof was 78,175 tokens a second."""
    step = step_estimate(job(model(tmp_path, QWEN_1_7B, max_num_seqs=512)), asked(355, 244), "NVIDIA H200")
    assert step is not None
    assert step.step_ms == pytest.approx(1000 * 512 / 78_175, rel=0.05)
    assert "expected to pay where the host's processor is slow" in step_line(step)
    assert step_line(step).startswith("gpu       a step of 512 sequences reads 3")


@pytest.mark.parametrize(
    ("config", "device", "sequences", "expected"),
    [
        (QWEN_1_7B, "NVIDIA H200", 256, "two or three engines on a GPU are expected to pay"),
        (LLAMA_8B, "NVIDIA H100 80GB HBM3", 512, "not expected to pay: the memory binds"),
        (LLAMA_8B, "NVIDIA L4", 32, "no room for a second engine"),
        (QWEN_1_7B, "", 1024, "not expected to pay: the memory binds"),
    ],
)
def test_several_engines_are_expected_to_pay_where_the_processor_is_the_longer_part(
    tmp_path: Path, config: dict[str, Any], device: str, sequences: int, expected: str
) -> None:
    step = step_estimate(job(model(tmp_path, config, max_num_seqs=sequences)), asked(350, 250), device)
    assert step is not None
    assert expected in step_line(step)
    assert ("which is assumed" in step_line(step)) is (not device)
    assert replace(step, step_ms=1e-3, room=True).expectation == "two or three engines on a GPU are expected to pay"


def test_nothing_is_said_of_an_engine_that_shares_already_or_spans_gpus(tmp_path: Path) -> None:
    guess = asked(350, None, most=1000)
    assert step_estimate(job(model(tmp_path, QWEN_1_7B), gpus_per_teacher=0.5), guess) is None
    assert step_estimate(job(model(tmp_path, QWEN_1_7B, tensor_parallel_size=2)), guess) is None
    assert step_estimate(job(Model.model_validate({"engine": "scripted"})), guess) is None
    told = step_estimate(job(model(tmp_path, QWEN_1_7B), memory_gb_s=1000, peak_tflops=100), guess)
    half = step_estimate(job(model(tmp_path, QWEN_1_7B), memory_gb_s=2000, peak_tflops=100), asked(350, 500))
    assert told is not None
    assert half is not None
    assert told.step_ms == pytest.approx(2 * half.step_ms)
