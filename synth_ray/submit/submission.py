"""One submission: its id among those of its job, whether the output is taken, and what its end means for the submitter."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from synth_ray.cluster.jobs_api import FAILED, SUCCEEDED, AlreadySubmitted, JobsApi, SubmittedJob, working_dir_env
from synth_ray.dataset.manifest import Manifest, read_manifest
from synth_ray.errors import JobError, ObjectNotFound, StoppedShort, StorageError, SynthRayError
from synth_ray.storage import Retry, open_storage
from synth_ray.submit.package import Package

_TRIES = 5
_SHORT_RETRY = Retry(budget_s=20.0)


def submit(
    api: JobsApi,
    package: Package,
    *,
    cpus: float | None = None,
    labels: Mapping[str, str] | None = None,
    with_package: bool = False,
) -> tuple[str, bool]:
    """Submit the package; returns its id and whether it is new. The very same package that runs already is found, not sent again.

    Raises JobError where another job of this cluster writes to the output.
    """
    for _ in range(_TRIES):
        jobs = api.jobs()
        if running := _writer_of(jobs, package.output):
            if running.metadata.get("package") == package.metadata["package"]:
                return running.id, False
            raise JobError(
                f"output.path: wanted an output that nobody writes to, got '{package.output}', to which job {running.id} writes; "
                f"follow it with --attach {running.id}, or end it with `synth-ray stop {running.id}` and submit again"
            )
        job_id = f"{package.id_stem}-{_next_number(package.id_stem, jobs)}"
        try:
            _send(api, job_id, package, cpus=cpus, labels=labels, with_package=with_package)
        except AlreadySubmitted:
            continue  # another submitter took the number
        return job_id, True
    raise SynthRayError(f"submit: wanted a free id for {package.id_stem}, got one in use {_TRIES} times; run the command again")


def _send(
    api: JobsApi,
    job_id: str,
    package: Package,
    *,
    cpus: float | None,
    labels: Mapping[str, str] | None,
    with_package: bool,
) -> None:
    """From a folder of its own: Ray leaves out what a `.gitignore` names, and would send whatever else lies in the user's."""
    modules: Sequence[Path] = [Path(__file__).parents[1]] if with_package else []
    with tempfile.TemporaryDirectory(prefix="synth-ray-submit-") as name:
        folder = Path(name) / "job"
        write_package(package, folder)
        env = working_dir_env(folder, package.env_vars, modules)
        api.submit(job_id, entrypoint=package.entrypoint, runtime_env=env, metadata=package.metadata, cpus=cpus, labels=labels)


def write_package(package: Package, folder: Path) -> None:
    for path, data in package.files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)


def _next_number(stem: str, jobs: Iterable[SubmittedJob]) -> int:
    numbers = [int(match[1]) for job in jobs if (match := re.fullmatch(rf"{re.escape(stem)}-(\d+)", job.id))]
    return max(numbers, default=0) + 1


def _writer_of(jobs: Iterable[SubmittedJob], output: str) -> SubmittedJob | None:
    return next((job for job in jobs if not job.is_over and job.metadata.get("output") == output), None)


def find_job(api: JobsApi, name: str) -> SubmittedJob:
    """The job of this id, or the one that writes to the output of this prefix. Raises JobError."""
    if "/" not in name:
        return api.job(name)
    job = _writer_of(api.jobs(), name.rstrip("/"))
    if job is None:
        raise JobError(f"stop: wanted a job that writes to '{name}', got none at {api.address}; is it over already?")
    return job


@dataclass(frozen=True, slots=True)
class End:
    """What a job's end means for the submitter. `exit_code` is what `run` would have exited with, as far as the cluster tells.
    `why` is a sentence for an end that the driver's own words do not explain; empty where they do.
    """

    exit_code: int
    why: str


def end_of(job: SubmittedJob, *, log_tail: str = "") -> End:
    """The end of a job that is over. Ray keeps no exit code of a driver that was stopped: its dataset tells."""
    if job.status == SUCCEEDED:
        return End(0, "")
    if job.status == FAILED:
        code = job.exit_code if job.exit_code is not None and 0 < job.exit_code < 256 else SynthRayError.exit_code
        return End(code, _why_it_failed(job, log_tail))
    return _end_of_stopped(job)


def _end_of_stopped(job: SubmittedJob) -> End:
    try:
        manifest = _manifest_of(job)
    except ObjectNotFound:
        manifest = None
    except (StorageError, JobError) as error:
        return End(
            SynthRayError.exit_code,
            f"the job was stopped; this machine cannot read its manifest, which tells whether it published a dataset: {error}",
        )
    if manifest is None:
        why = "the job was stopped before it published anything; submitting again goes on with what was asked"
        return End(SynthRayError.exit_code, why)
    if manifest.complete:
        return End(0, "the job was told to stop when its dataset was complete already, which is published")
    why = "the job was stopped; a partial dataset is published, and submitting again goes on with it"
    return End(StoppedShort.exit_code, why)


def _manifest_of(job: SubmittedJob) -> Manifest | None:
    """What is published at the job's output; None for a version of another job, which it began with. Raises StorageError."""
    output = job.metadata.get("output", "")
    if not output:
        return None
    where = {name: job.metadata.get(name) for name in ("endpoint_url", "region")}
    manifest = read_manifest(open_storage(output, retry=_SHORT_RETRY, **where))  # type: ignore[arg-type]
    return manifest if job.metadata.get("job_digest", manifest.job_digest) == manifest.job_digest else None


def _why_it_failed(job: SubmittedJob, log_tail: str) -> str:
    if "No module named 'synth_ray" in log_tail or "No module named synth_ray" in log_tail:
        return (
            "wanted synth_ray in the cluster's Python, got none; use an image that has it, name the Python that has it "
            "(--python), or send this machine's package (--with-package), without the packages that it needs"
        )
    if job.exit_code in (126, 127):
        return "wanted the cluster to find Python, got none at that name; name its path with --python"
    if job.exit_code is None:
        return f"the driver never ended by itself: {job.message or 'Ray does not say why'}"
    if not 0 < job.exit_code < 256:
        return (
            f"the driver was killed by signal {-job.exit_code}, most often for memory; submitting again goes on with its output"
        )
    return ""
