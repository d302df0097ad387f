"""The tables of a job's sinks: looked at before anything is spent, and told of the version after it is published."""

from __future__ import annotations

from dataclasses import replace

from synth_ray.dataset.manifest import Manifest
from synth_ray.errors import GateFailed, StoppedShort, SynthRayError
from synth_ray.job.document import Job
from synth_ray.lake.register import check_sinks, register_sinks
from synth_ray.prepare.preparation import Prepared
from synth_ray.publish.publication import shape_of
from synth_ray.route.ending import Result
from synth_ray.storage import Storage


def sink_problems(prepared: Prepared) -> list[SynthRayError]:
    """What is wrong with the job's tables, an error each; nothing is imported or opened for a job without sinks."""
    return check_sinks(prepared.job, shape_of(prepared).accepted_schema) if prepared.job.sinks else []


def refuse_bad_sinks(prepared: Prepared) -> None:
    """Raises the first problem: JobError, or StorageError for a catalog or a store that did not answer."""
    for problem in sink_problems(prepared):
        raise problem


def with_tables(result: Result, job: Job, storage: Storage, manifest: Manifest) -> Result:
    """The result, with the tables that the published version is now in. A failure is exit code 1, or 4 still where the run
    stopped short; the dataset stays published.

    A version whose gate failed, or whose run got no answer, is put into no table.
    """
    if not job.sinks or result.exit_code not in (0, StoppedShort.exit_code):
        held_back = job.sinks and result.exit_code == GateFailed.exit_code
        said = ["no table was changed, because of the gate: `synth-ray export` registers this version all the same"]
        return replace(result, problems=[*result.problems, *said]) if held_back else result
    registered, problems = register_sinks(job, storage, manifest)
    result = replace(result, tables=[str(table) for table in registered])
    if not problems:
        return result
    return replace(result, exit_code=result.exit_code or SynthRayError.exit_code, problems=[*result.problems, *problems])
