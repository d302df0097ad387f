"""How fast a model could be on an accelerator, and how near a run came; reported only where every number is known.

With I prompt tokens that were computed (cached ones are not) and O completion tokens a sequence, P parameters, W bytes of
weights, k bytes of KV cache a token, L layers with n query heads of width d, and B sequences at once:

    ctx  = I + O/2
    F    = 2 P (I + O)/O  +  4 L n d (ctx + I²/2O)          FLOP a completion token
    M    = W/B + k ctx                                      bytes of memory a completion token
    roof = 1 / max(F / peak FLOP/s, M / bandwidth)          completion tokens a second

Perfect overlap of both, nothing else counted: no sliding windows, speculation or launch times. Published engines reach
30 to 56 % of it. Pope et al., "Efficiently Scaling Transformer Inference", 2022, arXiv 2211.05102.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from synth_ray.ask.teacher import TeacherFacts

FORMULA = "1 / max(F/peak, M/bandwidth), F = 2P(I+O)/O + 4Lnd(ctx + I²/2O), M = W/B + k·ctx, ctx = I + O/2"

DEVICES: dict[str, tuple[float, float, float]] = {
    "NVIDIA A100-SXM4-40GB": (312, 0, 1.555),
    "NVIDIA A100-SXM4-80GB": (312, 0, 2.039),
    "NVIDIA A100 80GB PCIe": (312, 0, 1.935),
    "NVIDIA H100 80GB HBM3": (989, 1979, 3.35),
    "NVIDIA H100 PCIe": (756, 1513, 2.0),
    "NVIDIA H100 NVL": (835, 1671, 3.9),
    "NVIDIA H200": (989, 1979, 4.8),
    "NVIDIA B200": (2250, 4500, 8.0),
    "NVIDIA L4": (121, 242, 0.300),
    "NVIDIA L40S": (362, 733, 0.864),
}
"""By the driver's name: dense TFLOP/s in bfloat16 and in FP8 (0: none), TB/s. From the makers' data sheets."""

MEMORY_GB: dict[str, float] = {
    "NVIDIA A100-SXM4-40GB": 40,
    "NVIDIA A100-SXM4-80GB": 80,
    "NVIDIA A100 80GB PCIe": 80,
    "NVIDIA H100 80GB HBM3": 80,
    "NVIDIA H100 PCIe": 80,
    "NVIDIA H100 NVL": 94,
    "NVIDIA H200": 141,
    "NVIDIA B200": 180,
    "NVIDIA L4": 24,
    "NVIDIA L40S": 48,
}
"""The memory of the same devices."""


@dataclass(frozen=True, slots=True)
class Peak:
    """The limits of one accelerator."""

    flops: float
    bytes_s: float


def peak_of(device: str, *, fp8: bool, tflops: float | None = None, gb_s: float | None = None) -> Peak | None:
    """The job's values, else the table's for this device; None when neither has them."""
    if tflops is not None and gb_s is not None:
        return Peak(tflops * 1e12, gb_s * 1e9)
    if device not in DEVICES:
        return None
    bf16, eight, tb_s = DEVICES[device]
    return Peak((eight if fp8 and eight else bf16) * 1e12, tb_s * 1e12)


@dataclass(frozen=True, slots=True)
class Work:
    """The work of one replica: sums over its sequences, and its completion tokens per second."""

    sequences: int
    computed_prompt: int
    completion: int
    tokens_s: float


def roofline(facts: TeacherFacts, work: Work, peak: Peak | None) -> dict[str, Any]:
    """The share of the roof that was reached and which limit binds; or the reason why it is unknown."""
    size = facts.size
    if size is None or not facts.kv_tokens:
        return {"not_told": "the engine does not tell the size of this model"}
    if peak is None:
        return {"not_told": f"no figures for device '{facts.device or 'cpu'}': give cluster.peak_tflops and cluster.memory_gb_s"}
    if not work.sequences or not work.completion:
        return {"not_told": "nothing was asked"}
    prompt, out = work.computed_prompt / work.sequences, work.completion / work.sequences
    ctx = prompt + out / 2
    at_once = max(1.0, min(facts.max_running, facts.kv_tokens / ctx))
    flop = 2 * size.parameters * (prompt + out) / out
    flop += 4 * size.layers * size.heads * size.head_dim * (ctx + prompt**2 / (2 * out))
    moved = size.weight_bytes / at_once + size.kv_bytes * ctx
    compute_s, memory_s = flop / (facts.devices * peak.flops), moved / (facts.devices * peak.bytes_s)
    roof = 1 / max(compute_s, memory_s)
    return {
        "roof_tokens_s": round(roof, 1),
        "share": round(work.tokens_s / roof, 4),
        "bound": "compute" if compute_s >= memory_s else "memory",
        "mfu": round(work.tokens_s * compute_s, 4),
        "mbu": round(work.tokens_s * memory_s, 4),
        "sequences_at_once": round(at_once),
        "formula": FORMULA,
    }
