"""Whether several engines on one GPU are expected to pay, told before anything is loaded.

A step of an engine reads all weights and the KV cache of every sequence, and has a part in which the GPU waits for the processor.
Another engine on the same GPU fills that part. It pays while the processor's part is the longer one:

    M = W + B k ctx,  ctx = I + O/2      bytes a step moves
    M / bandwidth < processor's part     several engines are expected to pay

W, B, k, I and O are those of `meter.roofline`. What a step took beyond M / bandwidth was measured at 512 sequences on one H200,
with the shape of Qwen3-1.7B: about 6 ms on a host with a fast processor, about 10 on one with a slow one (docs/speed.md). Two
hosts and one model make an expectation, and no more: `synth-ray tune` measures.
"""

from __future__ import annotations

from dataclasses import dataclass

from synth_ray.ask.vllm.config_size import size_told
from synth_ray.job.device_memory import USABLE, device_fraction
from synth_ray.job.document import Job
from synth_ray.meter.roofline import DEVICES, MEMORY_GB
from synth_ray.prepare.estimate import Estimate

FAST_HOST_MS, SLOW_HOST_MS = 6.0, 10.0

ASSUMED_DEVICE = "NVIDIA H100 80GB HBM3"
"""Where neither the job nor this machine tells what the job will run on."""


@dataclass(frozen=True, slots=True)
class StepEstimate:
    """A step of a full engine: `step_bytes` that it moves, and the milliseconds in which `device` moves them."""

    sequences: int
    weight_bytes: int
    step_bytes: float
    step_ms: float
    device: str
    room: bool

    @property
    def expectation(self) -> str:
        if not self.room:
            return "no room for a second engine beside it: its weights would leave less than half of its part for the KV cache"
        if self.step_ms < FAST_HOST_MS:
            return "two or three engines on a GPU are expected to pay"
        if self.step_ms < SLOW_HOST_MS:
            return "two engines on a GPU are expected to pay where the host's processor is slow"
        return "several engines on a GPU are not expected to pay: the memory binds"


def step_estimate(job: Job, guess: Estimate, device: str = "") -> StepEstimate | None:
    """None where a teacher's engine is not one on a whole GPU, the size of the model is not told, or no model is asked. `device`:
    the accelerator's name, where it is known. Answers of unknown length are taken for half as long as they may be.
    """
    teacher = job.models.teacher
    if teacher.devices != 1 or not guess.asks or device_fraction(job) < 1:
        return None
    if (size := size_told(teacher)) is None:
        return None
    prompt, answer = guess.prompt_tokens, guess.completion_tokens
    prompts = prompt.high if prompt.expected is None else prompt.expected
    answers = answer.high / 2 if answer.expected is None else answer.expected
    ctx = (prompts + answers / 2) / guess.asks
    name = device if device in DEVICES else ASSUMED_DEVICE
    told = job.cluster.memory_gb_s
    bytes_s = told * 1e9 if told is not None else DEVICES[name][2] * 1e12
    moved = size.weight_bytes + teacher.max_running * size.kv_bytes * ctx
    where = f"{told:,.0f} GB/s" if told is not None else name + ("" if name == device else ", which is assumed")
    room = told is not None or size.weight_bytes < USABLE * MEMORY_GB[name] * 1e9 / 4
    return StepEstimate(teacher.max_running, size.weight_bytes, moved, 1000 * moved / bytes_s, where, room)
