"""How a run ended, for whoever started it: the exit code, and the sentences that explain it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from synth_ray.dataset.manifest import Manifest, Rows
from synth_ray.errors import GateFailed, StoppedShort, SynthRayError
from synth_ray.job.document import Job
from synth_ray.job.gates import gates_of
from synth_ray.meter.tally import Cause, commonest
from synth_ray.report.gates import GateResult, failed_gates, gate_results


@dataclass(frozen=True, slots=True)
class Stopped:
    """Why the parts of a job stopped before everything was asked; empty where they did not. `is_interrupted`: by a signal."""

    why: str = ""
    is_interrupted: bool = False


NOT_STOPPED = Stopped()


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of a run or a curation. The dataset under `prefix` is valid, whatever the exit code says.

    `stopped` says why the dataset is incomplete; empty when the run reached its end. `exit_code` is 0; 1 when no slot was
    answered and 3 when a gate failed, with the sentences in `problems`; 4 when it stopped short. `gates` are those of the job,
    judged by the numbers of this version, whatever the exit code says. `tables` are those of `sinks` that show this version.
    `is_interrupted`: it stopped because its process or its node was to end, so that another start of the same command goes on.
    """

    prefix: str
    manifest: dict[str, Any]
    stopped: str = ""
    exit_code: int = 0
    problems: Sequence[str] = field(default=())
    gates: Sequence[GateResult] = field(default=())
    tables: Sequence[str] = field(default=())
    is_interrupted: bool = False


def result_of(
    job: Job,
    manifest: Manifest,
    *,
    causes: Counter[Cause],
    nothing_answered: bool = False,
    is_interrupted: bool = False,
) -> Result:
    """The result of a published version. `causes`: why slots failed. `nothing_answered`: it stopped because all of them did."""
    prefix, stopped, rows = job.output.path.rstrip("/"), manifest.stopped, manifest.rows
    described = manifest.to_dict()
    gates = gate_results(described, gates_of(job.gates))
    if nothing_answered:
        return Result(prefix, described, stopped, SynthRayError.exit_code, [stopped], gates)
    if stopped:
        return Result(prefix, described, stopped, StoppedShort.exit_code, gates=gates, is_interrupted=is_interrupted)
    if 0 < rows.requested == sum(rows.failed.values()):
        problem = f"wanted answers, got none: all {rows.requested:,} slots failed, most often {commonest(causes)}"
        problem += "; mend the cause, then run the same command with --retry-failed"
        return Result(prefix, described, stopped, SynthRayError.exit_code, [problem], gates)
    failed = [f"gate failed: {sentence}; {_advice(rows)}" for sentence in failed_gates(gates)]
    return Result(prefix, described, stopped, GateFailed.exit_code if failed else 0, failed, gates)


def _advice(rows: Rows) -> str:
    if not rows.rejected:
        return "the dataset is published: report.html shows its numbers"
    reason = max(rows.rejected, key=lambda name: (rows.rejected[name], name))
    return f"the dataset is published: most rejected rows are {reason}, see rejected/ and report.html"
