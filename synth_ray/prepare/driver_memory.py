"""What the driver may hold, and what a plan's rows would take of it."""

from __future__ import annotations

from synth_ray.job.running import Limits
from synth_ray.meter.memory import machine_bytes
from synth_ray.prepare.index_memory import index_memory
from synth_ray.prepare.preparation import Prepared
from synth_ray.report.numerals import size

_SHARE = 0.9
"""Of the machine's memory: the rest is for what else runs there, and for the reports at the end."""


def memory_limit(limits: Limits) -> int:
    """Bytes; 0 where there is no limit."""
    return int(_SHARE * machine_bytes()) if limits.memory_bytes is None else limits.memory_bytes


def memory_note(prepared: Prepared) -> str:
    """What to say of a plan whose rows would take more memory than the driver may hold; empty where they fit. A machine that is
    not this one may have more.
    """
    job, most = prepared.job, memory_limit(prepared.job.limits)
    need = index_memory(prepared, None)
    if not most or need.in_driver <= most:
        return ""
    elsewhere = "" if job.dedup.spill_bytes else " or dedup.spill_bytes"
    advice = "run it where there is more memory"
    if not job.cluster.index_shards:
        advice = f"set cluster.index_shards{elsewhere}, or {advice}"
    return (
        f"limits.memory_bytes: {need.rows:,} rows of {need.words:.0f} words would take {size(round(need.in_driver))} in the "
        f"driver's index if all are kept, which may have {size(most)} here: the run would stop there, resumable; {advice}"
    )
