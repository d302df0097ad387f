"""datatrove's inference runner before a `vllm serve` on this machine: a peer of `bench.throughput`.

datatrove and vLLM ask for versions that do not agree, so it stays out of the environment: `pip install --no-deps --target FOLDER
datatrove loguru dill humanize multiprocess aiofiles aiosqlite orjson`, and `PYTHONPATH=FOLDER` before the benchmark.
"""

from __future__ import annotations

import tempfile
import time
from typing import Any

from tests.servers import serving


def datatrove(asked: list[dict[str, Any]], model: str, engine: dict[str, Any]) -> dict[str, float]:
    """Its runner with as much in flight as the others; it writes every answer as JSON lines, as it always does."""
    from datatrove.data import Document
    from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
    from datatrove.pipeline.writers import JsonlWriter
    from loguru import logger

    logger.remove()
    tokens = 0

    async def rollout(document: Any, generate: Any) -> str:
        nonlocal tokens
        how = {"temperature": 0.8, "ignore_eos": True, "max_tokens": document.metadata["tokens"]}
        made = await generate({"messages": [{"role": "user", "content": document.text}], **how})
        tokens += made.usage["completion_tokens"]
        return str(made.text)

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
        runner.run([Document(text=one["prompt"], id=str(n), metadata={"tokens": one["tokens"]}) for n, one in enumerate(asked)])
        return {"tokens": tokens, "seconds": time.monotonic() - began}
