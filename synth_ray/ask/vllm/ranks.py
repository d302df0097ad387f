"""An engine of several data-parallel ranks, for a mixture of experts whose experts are divided among them.

Its ranks step together, an idle one with empty batches, so requests are not ours to deal out: vLLM's asynchronous engine runs
each rank in a process of its own and gives every request to one. Here it looks like an engine that its caller steps. The ranks
are on one machine.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from synth_ray.ask.vllm import internals
from synth_ray.ask.vllm.build import is_cpu_build
from synth_ray.errors import JobError
from synth_ray.job.models import Model

_STEP_S = 0.01
"""Longest time that a step waits for an answer: so long a new request may wait to be seen."""


def refuse_cpu_ranks(model: Model) -> None:
    """Raise JobError where this environment's vLLM cannot divide experts: its build for CPUs ends in the first step."""
    if model.engine_args.get("enable_expert_parallel") and model.devices > 1 and is_cpu_build():
        raise JobError(
            f"models.teacher.engine_args.enable_expert_parallel: wanted vLLM built for GPUs to divide experts among "
            f"{model.devices} ranks, got its build for CPUs, which cannot; leave it out here, or run the job where GPUs are"
        )


@dataclass(frozen=True, slots=True)
class _Sequence:
    """What statistics ask of a sequence in a scheduler. The ranks' own schedulers are in other processes."""

    request_id: str
    num_preemptions: int = 0
    num_tokens: int = 0


class SteppedRanks:
    """The part of vLLM's in-process engine that `engine` uses, over its asynchronous engine. It is its own `scheduler`: of the
    sequences that are asked for, so many run as the ranks take together.
    """

    def __init__(self, engine_args: Any) -> None:
        """Start the ranks, which may take minutes. Raises what vLLM raises."""
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="vllm-ranks", daemon=True).start()
        self._engine = self._on_loop(internals.start_ranks(engine_args))
        self._tasks = self._on_loop(self._engine.get_supported_tasks())
        self.vllm_config = config = self._engine.vllm_config
        self.input_processor = self._engine.input_processor
        self._most_running = config.scheduler_config.max_num_seqs * config.parallel_config.data_parallel_size
        self._answers: dict[str, tuple[Future[None], int]] = {}
        self._ended: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def _on_loop(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def get_supported_tasks(self) -> Sequence[str]:
        tasks: Sequence[str] = self._tasks
        return tasks

    def add_request(self, name: str, prompt: Any, params: Any, *, lora_request: Any = None) -> None:
        """`prompt`: a prompt, or a request made of one. Raises what vLLM raises for a request that it refuses."""
        request = prompt
        if isinstance(prompt, dict):
            request = self.input_processor.process_inputs(
                name, prompt, params, supported_tasks=self._tasks, lora_request=lora_request
            )
        answer = asyncio.run_coroutine_threadsafe(self._answer(name, request, params), self._loop)
        self._answers[name] = (answer, params.n)

    async def _answer(self, name: str, request: Any, params: Any) -> None:
        try:
            async for output in self._engine.generate(request, params, name):
                if output.finished:
                    self._ended.put(output)
        except Exception as error:  # raised where the engine is stepped: a rank is dead, and with it the engine
            self._ended.put(error)

    def abort_request(self, names: Sequence[str]) -> None:
        """Cancelling an answer aborts its request in its rank."""
        for name in names:
            if name in self._answers:
                self._answers.pop(name)[0].cancel()

    def has_unfinished_requests(self) -> bool:
        return bool(self._answers)

    def step(self) -> list[Any]:
        """Wait a moment for answers: all that have ended. Raises what ended a rank."""
        outputs: list[Any] = []
        try:
            outputs.append(self._checked(self._ended.get(timeout=_STEP_S)))
            while True:
                outputs.append(self._checked(self._ended.get_nowait()))
        except queue.Empty:
            return [output for output in outputs if self._answers.pop(output.request_id, None)]

    def _checked(self, ended: Any) -> Any:
        if isinstance(ended, BaseException):
            raise ended
        return ended

    @property
    def scheduler(self) -> SteppedRanks:
        return self

    @property
    def running(self) -> list[_Sequence]:
        return self._sequences()[: self._most_running]

    @property
    def waiting(self) -> list[_Sequence]:
        return self._sequences()[self._most_running :]

    def _sequences(self) -> list[_Sequence]:
        return [_Sequence(name) for name, (_, n) in self._answers.items() for _ in range(n)]

    def shutdown(self) -> None:
        """End the ranks' processes."""
        self._engine.shutdown()
        self._loop.call_soon_threadsafe(self._loop.stop)
