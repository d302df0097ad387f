"""LoRA adapters: teachers that differ only by an adapter share one engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
import torch
from safetensors.torch import save_file

import synth_ray
from synth_ray.errors import JobError
from synth_ray.job.load import job_from
from synth_ray.job.problems import BadJob
from synth_ray.route.preflight import preflight
from tests.conftest import TINY_TEACHER

# In bfloat16 the likeliest two tokens are often one step apart, and which is taken depends on what else is in the batch.
ENGINE = {"dtype": "float32", "max_model_len": 256, "max_num_seqs": 16, "enforce_eager": True}


def adapter(folder: Path) -> str:
    """A random adapter of the bundled teacher, large enough to change its answers."""
    shape = json.loads((TINY_TEACHER / "config.json").read_text())
    hidden, heads, width = shape["hidden_size"], shape["num_attention_heads"], shape["head_dim"]
    draw = torch.Generator().manual_seed(1)
    weights = {}
    for layer in range(shape["num_hidden_layers"]):
        for name, out in (("q_proj", heads * width), ("v_proj", shape["num_key_value_heads"] * width)):
            prefix = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            weights[f"{prefix}.lora_A.weight"] = torch.randn(4, hidden, generator=draw) * 0.2
            weights[f"{prefix}.lora_B.weight"] = torch.randn(out, 4, generator=draw) * 0.2
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"]}
    folder.mkdir()
    save_file(weights, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(
        json.dumps(config | {"bias": "none", "base_model_name_or_path": str(TINY_TEACHER)})
    )
    return str(folder)


def job(folder: Path, lora: str, **more: Any) -> dict[str, Any]:
    (folder / "seeds.jsonl").write_text("".join(json.dumps({"prompt": f"seed {n}"}) + "\n" for n in range(24)))
    base = {"model": str(TINY_TEACHER), "engine_args": ENGINE}
    return {
        "name": "adapters",
        "seeds": str(folder / "seeds.jsonl"),
        "recipe": {"name": "distill", "template": "Write one new customer message.\nIntent: refund\nTone: brief\nNew message:"},
        "models": {"teacher": [base, base | {"lora": lora}]},
        "sampling": {"temperature": 0, "max_tokens": 24},
        "check": {"drop": []},
        "split": {"fractions": {"train": 1.0}, "group_at": None},
        "output": str(folder / "out"),
        "cluster": {"stagers": 1},
    } | more


@pytest.mark.vllm
@pytest.mark.ray
def test_two_teachers_that_differ_by_an_adapter_share_an_engine_and_answer_differently(tmp_path: Path) -> None:
    lora = adapter(tmp_path / "adapter")
    manifest = synth_ray.run(job(tmp_path, lora)).manifest
    parts = f"read_parquet('{tmp_path}/out/*/**/*.parquet', union_by_name = true)"
    rows = duckdb.sql(f"select teacher, completion, count(*) from {parts} where teacher is not null group by all").fetchall()
    assert sum(n for _, _, n in rows) == 24
    counts: dict[str, dict[str, int]] = {}
    for teacher, completion, n in rows:
        counts.setdefault(teacher, {})[completion] = n
    assert set(counts) == {str(TINY_TEACHER), f"{TINY_TEACHER} + {lora}"}
    most_common = {teacher: max(texts, key=lambda text: texts[text]) for teacher, texts in counts.items()}
    assert len(set(most_common.values())) == 2
    assert all(counts[teacher][text] >= 0.7 * sum(counts[teacher].values()) for teacher, text in most_common.items())
    first, second = manifest["engines"]["teacher"], manifest["engines"]["teacher_2"]
    assert first == second


def test_a_missing_adapter_or_one_for_another_engine_stops_the_job(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"models\.lora: wanted a folder with a PEFT adapter_config"):
        preflight(job_from(job(tmp_path, str(tmp_path / "nothing"))))
    with pytest.raises(BadJob, match="wanted engine 'vllm' for a LoRA adapter"):
        job_from(job(tmp_path, "", models={"teacher": {"engine": "scripted", "lora": "x"}}))
