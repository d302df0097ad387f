"""datatrove's inference runner before a `vllm serve` on this machine: a peer of `bench.throughput`.

datatrove and vLLM ask for versions that do not agree, so it stays out of the environment: `pip install --no-deps --target FOLDER
datatrove loguru dill humanize multiprocess aiofiles aiosqlite orjson`, and `PYTHONPATH=FOLDER` before the benchmark.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_START_S = 180


@contextmanager
def served(model: str, engine: dict[str, Any]) -> Iterator[str]:
    """VLLM's own server with these engine arguments: where it is. It is ended with everything it started."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = [f"--{name.replace('_', '-')}" + ("" if value is True else f"={value}") for name, value in engine.items()]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model, "--host", "127.0.0.1"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([*command, "--port", str(port), *flags], start_new_session=True, **quiet)  # type: ignore[call-overload]
    try:
        _wait_for(f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _wait_for(url: str) -> None:
    until = time.monotonic() + _START_S
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)


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

    with served(model, engine) as url, tempfile.TemporaryDirectory() as folder:
        config = InferenceConfig(
            server_type="endpoint",
            endpoint_url=url,
            model_name_or_path=model,
            max_concurrent_generations=4 * engine["max_num_seqs"],
            server_ready_delay_sec=0.1,
        )
        runner = InferenceRunner(rollout, config, JsonlWriter(folder, compression=None))
        began = time.monotonic()
        runner.run([Document(text=one["prompt"], id=str(n), metadata={"tokens": one["tokens"]}) for n, one in enumerate(asked)])
        return {"tokens": tokens, "seconds": time.monotonic() - began}
