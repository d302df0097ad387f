"""Engine arguments: what vLLM does not know, what has the wrong type, and what contradicts itself or the cluster."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import ray

from synth_ray.ask.data_parallel import DataParallelTeacher, split_devices, split_model
from synth_ray.ask.scripted_teacher import ScriptedTeacher
from synth_ray.ask.vllm import arguments
from synth_ray.ask.vllm.arguments import refuse_bad_arguments
from synth_ray.ask.vllm.speculation import refuse_unfit_sampling
from synth_ray.cluster.placement import start_replica
from synth_ray.cluster.wants import gpus_per_replica
from synth_ray.errors import JobError
from synth_ray.job.document import Job
from synth_ray.job.load import job_from
from synth_ray.job.models import Model
from synth_ray.job.sampling import Sampling
from synth_ray.job.script import Script
from synth_ray.route.preflight import preflight
from tests.unit.ask.test_teachers import prompt

URL = "http://127.0.0.1:1/v1"
GOOD: dict[str, Any] = {
    "dtype": "bfloat16",
    "max_num_seqs": 64,
    "gpu_memory_utilization": 1,
    "enforce_eager": True,
    "max_model_len": None,
    "quantization": "of my own plugin",
    "speculative_config": {"method": "ngram"},
    "structured_outputs_config": {"backend": "xgrammar"},
}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("max_num_seq", 4, "got max_num_seq; did you mean 'max_num_seqs'"),
        ("swap_out_everything", 4, "got swap_out_everything; this version of vLLM has no such argument"),
        ("dtype", "bf16", r"\.dtype: wanted 'auto' or .* got 'bf16'; did you mean 'bfloat16'\?"),
        ("max_num_seqs", "64", r"\.max_num_seqs: wanted a whole number, got '64'"),
        ("max_num_seqs", True, r"\.max_num_seqs: wanted a whole number, got True"),
        ("seed", 0.5, r"\.seed: wanted a whole number, got 0\.5"),
        ("enforce_eager", "yes", r"\.enforce_eager: wanted true or false, got 'yes'"),
        ("enforce_eager", 1, r"\.enforce_eager: wanted true or false, got 1"),
        ("cpu_offload_gb", True, r"\.cpu_offload_gb: wanted a number, got True"),
        ("max_lora_rank", 17, r"\.max_lora_rank: wanted 1 or 8 or .* …, got 17"),
        ("speculative_config", "ngram", r"\.speculative_config: wanted a mapping, got 'ngram'"),
    ],
)
def test_an_argument_that_vllm_does_not_take_is_refused_without_importing_vllm(name: str, value: Any, message: str) -> None:
    with pytest.raises(JobError, match=rf"^models\.teacher\.engine_args.*{message}"):
        refuse_bad_arguments(GOOD | {name: value}, where="models.teacher")


def test_good_arguments_pass_and_so_do_all_where_there_is_no_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_bad_arguments(GOOD, where="models.teacher")
    code = "import sys; from synth_ray.ask.vllm.arguments import _source; assert _source()[0]; assert 'vllm' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    monkeypatch.setattr(arguments, "_source", lambda: ({}, {}))
    refuse_bad_arguments({"anything": "goes"}, where="models.teacher")


def job(folder: Path, engine_args: dict[str, Any], judge: dict[str, Any] | None = None, **cluster: Any) -> Job:
    (folder / "seeds.jsonl").write_text('{"prompt": "tell of a town"}\n')
    models: dict[str, Any] = {"teacher": {"model": "some/model", "engine_args": engine_args}}
    return Job.model_validate(
        {
            "name": "arguments",
            "seeds": str(folder / "seeds.jsonl"),
            "recipe": "distill",
            "models": models | ({"judge": judge} if judge else {}),
            "split": {"fractions": {"train": 1.0}},
            "output": str(folder / "out"),
            "cluster": cluster,
        }
    )


def test_check_names_every_bad_argument_of_every_role(tmp_path: Path) -> None:
    judge = {"model": "other/judge", "engine_args": {"enforce_eagre": True}}
    with pytest.raises(JobError) as refused:
        preflight(job(tmp_path, {"max_num_seq": 4, "dtype": "bf16"}, judge))
    for part in ("max_num_seqs'", "'bfloat16'", "models.judge.engine_args: wanted", "'enforce_eager'"):
        assert part in str(refused.value)


SERVED = {"model": "m", "engine": "endpoint"}
NATIVE = {"name": "converse", "call": "native", "tools": [{"name": "t", "parameters": {"type": "object"}}]}


@pytest.mark.parametrize(
    ("teacher", "recipe", "message"),
    [
        ({"model": "m", "tool_parser": "hermse"}, "distill", r"tool_parser: wanted .* got 'hermse'; did you mean 'hermes'"),
        ({"model": "m", "chat": False}, NATIVE, "chat: wanted a chat template to show tools"),
        (SERVED | {"endpoint": {"urls": URL}, "chat": False}, NATIVE, "chat: wanted a chat template to show tools"),
        (
            SERVED | {"endpoint": {"urls": URL, "flavour": "openai"}, "reasoning": {"budget": 9}},
            "distill",
            r"reasoning\.budget: wanted a server that limits a thought .* got openai",
        ),
        (
            {"model": "m", "engine": "batch_api", "batch": {"url": URL}, "reasoning": {"budget": 9}},
            "distill",
            r"reasoning\.budget: wanted a server that limits a thought .* got openai",
        ),
    ],
)
def test_check_refuses_what_only_an_opened_model_refused(
    tmp_path: Path, teacher: dict[str, Any], recipe: Any, message: str
) -> None:
    document = job(tmp_path, {}).model_dump(mode="json", exclude_unset=True)
    with pytest.raises(JobError, match=rf"models\.teacher\.{message}"):
        preflight(job_from(document | {"models": {"teacher": teacher}, "recipe": recipe}))


@pytest.mark.parametrize(
    "teacher",
    [
        {"model": "m", "tool_parser": "hermes"},
        SERVED | {"endpoint": {"urls": URL}, "reasoning": {"budget": 9}},
        SERVED | {"endpoint": {"urls": URL, "flavour": "vllm"}, "reasoning": {"budget": 9}},
    ],
)
def test_check_leaves_to_the_opened_model_what_it_alone_can_tell(tmp_path: Path, teacher: dict[str, Any]) -> None:
    document = job(tmp_path, {}).model_dump(mode="json", exclude_unset=True)
    preflight(job_from(document | {"models": {"teacher": teacher}}))


@pytest.mark.parametrize(
    ("engine_args", "message"),
    [
        ({"model": "x"}, "wanted `model` as a key of the model"),
        ({"trust_remote_code": True}, "wanted `trust_remote_code` as a key of the model"),
        ({"tensor_parallel_size": "2"}, "wanted a whole number from 1 as engine_args.tensor_parallel_size, got '2'"),
        ({"tensor_parallel_size": 0}, "got 0"),
        ({"data_parallel_size": True}, "got True"),
        ({"pipeline_parallel_size": [2]}, r"got \[2\]"),
        ({"gpu_memory_utilization": 90}, "wanted a share above 0 and up to 1"),
        ({"max_num_batched_tokens": 64, "max_num_seqs": 128}, "at least max_num_seqs"),
        (
            {"max_num_batched_tokens": 2048, "max_model_len": 8192, "enable_chunked_prefill": False},
            r"at least max_model_len \(8192\) without chunked prefill",
        ),
        (
            {"data_parallel_size": 2, "enable_expert_parallel": True, "distributed_executor_backend": "ray"},
            "without distributed_executor_backend: ray, got both: its ranks that divide experts are on one machine",
        ),
        ({"data_parallel_size": 2, "data_parallel_rank": 1}, "data_parallel_size without data_parallel_rank"),
        ({"tensor_parallel_size": 2, "distributed_executor_backend": "uni"}, "wanted an executor for 2 accelerators"),
    ],
)
def test_arguments_that_contradict_each_other_are_refused_with_the_job(engine_args: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Model(model="m", engine_args=engine_args)


def test_arguments_that_only_look_like_a_contradiction_are_taken() -> None:
    Model(model="m", engine_args={"max_num_batched_tokens": 2048, "max_model_len": 8192})
    Model(model="m", engine_args={"max_model_len": -1, "max_num_seqs": None})
    Model(engine="scripted", engine_args={"tensor_parallel_size": "2"})
    with pytest.raises(ValueError, match=r"enable_lora left out beside `lora`"):
        Model(model="m", lora="adapter", engine_args={"enable_lora": False})


def test_a_replica_requests_what_its_engines_span_unless_the_job_says_otherwise(tmp_path: Path) -> None:
    spread = {"tensor_parallel_size": 2, "pipeline_parallel_size": 2, "data_parallel_size": 3}
    judge = {"model": "other/judge"}
    assert Model(model="m", engine_args=spread).devices == 12
    assert gpus_per_replica(job(tmp_path, {}), 8) == 1
    assert gpus_per_replica(job(tmp_path, {}), 0) == 0
    assert gpus_per_replica(job(tmp_path, spread), 64) == 12
    assert gpus_per_replica(job(tmp_path, {}, judge), 8) == 2
    assert gpus_per_replica(job(tmp_path, {}, judge), 1) == 1
    assert gpus_per_replica(job(tmp_path, {}, gpus_per_teacher=0), 8) == 0
    assert gpus_per_replica(job(tmp_path, {}, gpus_per_teacher=0.5), 8) == 0.5
    scripted = Job.model_validate(job(tmp_path, {}).model_dump() | {"models": {"teacher": {"engine": "scripted"}}})
    assert gpus_per_replica(scripted, 8) == 0
    with pytest.raises(ValueError, match=r"gpus_per_teacher: wanted 12, .* data_parallel_size of the model, got 4"):
        job(tmp_path, spread, gpus_per_teacher=4)


def test_data_parallel_engines_have_their_own_gpus_share_the_asks_and_count_as_one(tmp_path: Path) -> None:
    spread = Model(model="m", engine_args={"tensor_parallel_size": 2, "data_parallel_size": 2, "max_num_seqs": 8})
    assert [one.engine_args for one in split_model(spread)] == [{"tensor_parallel_size": 2, "max_num_seqs": 8}] * 2
    assert split_devices("4,5,6,7", split_model(spread)) == ["4,5", "6,7"]
    assert split_devices("", split_model(spread)) == ["0,1", "2,3"]
    assert split_model(Model(model="m")) == [Model(model="m")]
    ranked = Model(model="m", engine_args={"tensor_parallel_size": 2, "data_parallel_size": 2, "enable_expert_parallel": True})
    assert split_model(ranked) == [ranked]
    assert ranked.devices == 4
    engines = [ScriptedTeacher(Model(engine="scripted", script=Script(concurrency=4, latency_s=0.05))) for _ in range(3)]
    teacher = DataParallelTeacher(engines)
    facts = teacher.open()
    assert (facts.max_running, facts.devices, facts.engine_args["data_parallel_size"]) == (12, 3, 3)

    async def ask_all() -> list[Any]:
        asks = [asyncio.create_task(teacher.answer(prompt(number))) for number in range(9)]
        await asyncio.sleep(0.01)
        assert [engine.load().running for engine in engines] == [3, 3, 3]
        assert teacher.load().running == 9
        return await asyncio.gather(*asks)

    assert all(len(answers) == 1 for answers in asyncio.run(ask_all()))
    teacher.close()


@pytest.mark.ray
def test_a_replica_sees_its_own_gpus_and_none_where_it_requests_none(tmp_path: Path) -> None:
    class Replica:  # defined here, so that Ray sends the class itself: its workers cannot import this module
        def __init__(self, _job: object) -> None:
            pass

        def devices(self) -> str | None:
            return os.environ.get("CUDA_VISIBLE_DEVICES")

    ray.init(address="local", num_cpus=2, num_gpus=2, include_dashboard=False, log_to_driver=False)
    try:
        seen = []
        for engine_args, cluster in (({}, {}), ({"data_parallel_size": 2}, {}), ({}, {"gpus_per_teacher": 0})):
            actor, _ = start_replica(Replica, job(tmp_path, engine_args, **cluster))
            seen.append(ray.get(actor.devices.remote()))
            ray.kill(actor)
    finally:
        ray.shutdown()
    assert [len([name for name in (names or "").split(",") if name]) for names in seen] == [1, 2, 0]
    assert seen[-1] == ""


@pytest.mark.parametrize(
    ("sampling", "on_cpu", "message"),
    [
        ({"min_p": 0.1}, False, r"sampling\.min_p: wanted 0 beside models\.teacher\.engine_args\.speculative_config, got 0\.1"),
        ({"temperature": 0.7}, True, r"sampling\.temperature: wanted 0 beside .* on vLLM's CPU build, got 0\.7"),
        ({"temperature": 0.7}, False, ""),
        ({"temperature": 0.0}, True, ""),
    ],
)
def test_sampling_that_an_engine_cannot_speculate_with_is_refused(sampling: dict[str, Any], on_cpu: bool, message: str) -> None:
    speculates = Model(model="any", engine_args={"speculative_config": {"method": "ngram"}})
    refuse_unfit_sampling(Model(model="any"), Sampling(**sampling), where="models.teacher", on_cpu=on_cpu)
    with pytest.raises(JobError, match=message) if message else nullcontext():
        refuse_unfit_sampling(speculates, Sampling(**sampling), where="models.teacher", on_cpu=on_cpu)


def test_check_refuses_sampling_beside_speculation_by_name(tmp_path: Path) -> None:
    document = job(tmp_path, {"speculative_config": {"method": "ngram"}}).model_dump(mode="json", exclude_unset=True)
    with pytest.raises(JobError, match=r"sampling\.min_p: wanted 0 beside models\.teacher\.engine_args"):
        preflight(job_from(document | {"sampling": {"min_p": 0.1}}))
