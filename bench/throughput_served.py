"""datatrove's inference runner with a `vllm serve` on this machine: a peer of `bench.throughput`.

datatrove and vLLM need conflicting versions, so it is not in the environment: `pip install --no-deps --target FOLDER
datatrove loguru dill humanize multiprocess aiofiles aiosqlite orjson`, and `PYTHONPATH=FOLDER` before the benchmark.
"""

from __future__ import annotations

import tempfile
import time
from typing import Any

from tests.servers import serving


def datatrove(prompts: list[dict[str, Any]], model: str, engine: dict[str, Any]) -> dict[str, float]:
    """Its runner with as many prompts in flight as the others; as always it writes every answer as JSON lines."""
    from datatrove.data import Document
    from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
    from datatrove.pipeline.writers import JsonlWriter
    from loguru import logger

    logger.remove()
    tokens = 0

    async def rollout(document: Any, generate: Any) -> str:
        nonlocal tokens
        sampling = {"temperature": 0.8, "ignore_eos": True, "max_tokens": document.metadata["tokens"]}
        answer = await generate({"messages": [{"role": "user", "content": document.text}], **sampling})
        tokens += answer.usage["completion_tokens"]
        return str(answer.text)

    flags = [f"--{name.replace('_', '-')}" + ("" if value is True else f"={value}") for name, value in engine.items()]
    with serving(model, flags) as (url, name), tempfile.TemporaryDirectory() as folder:
        config = InferenceConfig(
            server_type="endpoint",
            endpoint_url=url.removesuffix("/v1"),
            model_name_or_path=name,
            max_concurrent_generations=4 * engine["max_num_seqs"],
            server_ready_delay_sec=0.1,
        )
        runner = InferenceRunner(rollout, config, JsonlWriter(folder, compression=None))
        began = time.monotonic()
        runner.run(
            [
                Document(text=prompt["prompt"], id=str(n), metadata={"tokens": prompt["tokens"]})
                for n, prompt in enumerate(prompts)
            ]
        )
        return {"tokens": tokens, "seconds": time.monotonic() - began}
