"""Other ways to send many prompts to one vLLM engine, for `bench.throughput`: timed from the ready engine to the last answer."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any

from bench.throughput_served import datatrove
from synth_ray.ask.vllm.build import is_cpu_build

Prompts = list[dict[str, Any]]
Figures = dict[str, float]

BATCH = 256


def sampling_of(tokens: int) -> Any:
    from vllm import SamplingParams

    return SamplingParams(temperature=0.8, max_tokens=tokens, ignore_eos=True)


def chat_of(prompt: dict[str, Any]) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt["prompt"]}]


def in_batches(prompts: Prompts, model: str, engine: dict[str, Any]) -> Figures:
    """`LLM.chat`, a batch per call: the next batch begins after the last prompt of this one has ended."""
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    from vllm import LLM

    llm = LLM(model=model, distributed_executor_backend="uni", disable_log_stats=True, **engine)
    began, tokens = time.monotonic(), 0
    for start in range(0, len(prompts), BATCH):
        batch = prompts[start : start + BATCH]
        done = llm.chat(
            [chat_of(prompt) for prompt in batch], [sampling_of(prompt["tokens"]) for prompt in batch], use_tqdm=False
        )
        tokens += sum(len(output.outputs[0].token_ids) for output in done)
    return {"tokens": tokens, "seconds": time.monotonic() - began}


def asynchronous(prompts: Prompts, model: str, engine: dict[str, Any]) -> Figures:
    """`AsyncLLM`, its engine in its own process, with four times `max_num_seqs` prompts in flight."""
    uni = {"distributed_executor_backend": "uni"} if is_cpu_build() else {}  # no process for a worker beside the engine's
    if uni:
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    from vllm import AsyncEngineArgs
    from vllm.sampling_params import RequestOutputKind
    from vllm.v1.engine.async_llm import AsyncLLM

    async def generate_all() -> Figures:
        llm = AsyncLLM.from_engine_args(AsyncEngineArgs(model=model, **uni, **engine))
        tokenizer = llm.get_tokenizer() if not asyncio.iscoroutinefunction(llm.get_tokenizer) else await llm.get_tokenizer()
        slots = asyncio.Semaphore(4 * engine["max_num_seqs"])

        async def generate_one(number: int, prompt: dict[str, Any]) -> int:
            async with slots:
                text = tokenizer.apply_chat_template(chat_of(prompt), tokenize=False, add_generation_prompt=True)
                parameters = sampling_of(prompt["tokens"])
                parameters.output_kind = RequestOutputKind.FINAL_ONLY
                outputs = [output async for output in llm.generate(text, parameters, str(number))]
            return len(outputs[-1].outputs[0].token_ids)

        began = time.monotonic()
        tokens = sum(await asyncio.gather(*[generate_one(number, prompt) for number, prompt in enumerate(prompts)]))
        result = {"tokens": float(tokens), "seconds": time.monotonic() - began}
        llm.shutdown()
        return result

    return asyncio.run(generate_all())


def ray_data(prompts: Prompts, model: str, engine: dict[str, Any]) -> Figures:
    """Ray Data's LLM processor, 16 batches of 64 in flight: more than its defaults."""
    import ray
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    ray.init(address="local", num_cpus=10, log_to_driver=False, logging_level="ERROR")
    config = vLLMEngineProcessorConfig(
        model_source=model,
        engine_kwargs={**engine, "distributed_executor_backend": "uni"},
        batch_size=64,
        max_concurrent_batches=16,
        concurrency=1,
        log_engine_metrics=False,
        placement_group_config={"bundles": [{"CPU": 1} if is_cpu_build() else {"CPU": 1, "GPU": 1}]},
        runtime_env={"env_vars": {name: value for name, value in os.environ.items() if name.startswith(("VLLM_", "OMP_"))}},
    )
    sampling = {"temperature": 0.8, "ignore_eos": True}
    processor = build_processor(
        config,
        preprocess=lambda row: {"messages": chat_of(row), "sampling_params": sampling | {"max_tokens": row["tokens"]}},
        postprocess=lambda row: {"tokens": row["num_generated_tokens"], "took": row["time_taken_llm"], "done": time.time()},
    )
    rows = processor(ray.data.from_items(prompts)).take_all()
    ray.shutdown()
    ready = min(row["done"] - row["took"] for row in rows)
    return {"tokens": sum(row["tokens"] for row in rows), "seconds": max(row["done"] for row in rows) - ready}


PEERS: dict[str, tuple[str, Callable[[Prompts, str, dict[str, Any]], Figures]]] = {
    "batches": (f"LLM.generate, {BATCH} a call", in_batches),
    "async": ("AsyncLLM, 4 × in flight", asynchronous),
    "ray-data": ("Ray Data LLM, 64 × 16", ray_data),
    "datatrove": ("datatrove, 4 × in flight", datatrove),
}
