"""A setting that a sweep tries, as keys of the job: engine arguments, and how many engines share an accelerator."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from synth_ray.errors import JobError
from synth_ray.job.device_memory import KV_BYTES, UTILIZATION, device_fraction
from synth_ray.job.document import Job
from synth_ray.job.engine_args import devices_of

ENGINES_PER_GPU = "engines_per_gpu"
"""Among a setting's engine arguments, the number of engines on one accelerator, each with its part of the memory."""

Setting = Mapping[str, Any]

DEFAULT_SWEEP: Mapping[str, Sequence[Any]] = {
    "max_num_seqs": (64, 128, 256, 512, 1024),
    ENGINES_PER_GPU: (1, 2, 3),
    "max_num_batched_tokens": (2048, 8192, 16384, 32768),
}
"""The values tried by default: one argument after the other, each with the best values so far."""


def setting_of(job: Job, *, on_cpu: bool) -> dict[str, Any]:
    """What the job says."""
    return {**job.models.teacher.engine_args, ENGINES_PER_GPU: engines_on_device(job, on_cpu=on_cpu)}


def engines_on_device(job: Job, *, on_cpu: bool) -> int:
    """How many teacher replicas have room on one accelerator, as the job divides it."""
    return int(1 / device_fraction(job, on_cpu=on_cpu) + 1e-3)


def default_sweep(job: Job, *, on_cpu: bool) -> dict[str, Sequence[Any]]:
    """What is tried where nobody says: several engines only where an accelerator holds one."""
    single = job.models.teacher.devices == 1 and not on_cpu
    return {name: values for name, values in DEFAULT_SWEEP.items() if single or name != ENGINES_PER_GPU}


def refuse_unfit_sweep(job: Job, tried: Mapping[str, Sequence[Any]], *, on_cpu: bool) -> None:
    """Raise JobError for numbers of engines that the job could not be written with."""
    values = tried.get(ENGINES_PER_GPU, ())
    if bad := [value for value in values if not isinstance(value, int) or isinstance(value, bool) or value < 1]:
        raise JobError(f"--try: wanted whole numbers from 1 as {ENGINES_PER_GPU}, got {bad[0]!r}")
    if not [value for value in values if value > 1]:
        return
    if (devices := job.models.teacher.devices) != 1:
        raise JobError(f"--try: wanted an engine on one accelerator for {ENGINES_PER_GPU}, got one on {devices}; leave it out")
    if on_cpu and job.cluster.engine != "local":
        raise JobError(
            f"--try: wanted GPUs, or cluster.engine: local, for {ENGINES_PER_GPU}, got vLLM's build for CPUs and Ray, which "
            "would wait for a GPU; set cluster.teachers instead"
        )


def keys_of(job: Job, setting: Setting, *, on_cpu: bool) -> dict[str, Any]:
    """The keys that give a job this setting, by dotted name: of the cluster and the budget only where the number of engines on an
    accelerator differs. Then a replica has another part of the memory, of what the job says of it, and of the price of an hour.
    """
    before = engines_on_device(job, on_cpu=on_cpu)
    engines = int(setting.get(ENGINES_PER_GPU, before))
    arguments = {name: value for name, value in setting.items() if name != ENGINES_PER_GPU}
    if engines == before:
        return {"models.teacher.engine_args": arguments}
    for name, whole in ((UTILIZATION, False), (KV_BYTES, True)):
        if arguments.get(name) is not None:
            part = arguments[name] * before / engines
            arguments[name] = int(part) if whole else min(1.0, math.floor(part * 1e4 + 1e-6) / 1e4)
    cluster, budget = job.cluster, job.budget
    teachers = math.ceil(cluster.first_teachers * engines / before)
    number = {"cluster.teachers": teachers} if cluster.replicas is None else {"cluster.replicas": teachers + cluster.judges}
    price = {"budget.gpu_hour_usd": round(budget.gpu_hour_usd * before / engines, 6)} if budget.gpu_hour_usd else {}
    part_of_gpu = math.floor(1e4 / engines) / 1e4 if engines > 1 else 1  # Ray counts in ten-thousandths
    return {"models.teacher.engine_args": arguments, "cluster.gpus_per_teacher": part_of_gpu, **number, **price}


def job_with(job: Job, setting: Setting, *, on_cpu: bool) -> Job:
    """The job with this setting."""
    keys = keys_of(job, setting, on_cpu=on_cpu)
    teacher = job.models.teacher.model_copy(update={"engine_args": keys.pop("models.teacher.engine_args")})
    changed: dict[str, Any] = {"models": job.models.model_copy(update={"teacher": teacher})}
    for section in ("cluster", "budget"):
        own = {name.partition(".")[2]: value for name, value in keys.items() if name.startswith(f"{section}.")}
        changed[section] = getattr(job, section).model_copy(update=own)
    return job.model_copy(update=changed)


def tokens_per_dollar(job: Job, tokens_s: float, *, on_cpu: bool) -> float | None:
    """Of so many tokens per second of one accelerator; None where the job has no price. `budget.gpu_hour_usd` is the price of one
    replica's hour, as the job has them.
    """
    whole = job.budget.gpu_hour_usd * engines_on_device(job, on_cpu=on_cpu) / max(1, devices_of(job.models.teacher.engine_args))
    return tokens_s * 3600 / whole if whole else None
