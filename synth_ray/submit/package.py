"""A job as it is sent to a cluster: its file, the local files it names, and how it is started there."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from synth_ray.errors import JobError
from synth_ray.job.document import Job
from synth_ray.job.overrides import with_overrides
from synth_ray.records import digest
from synth_ray.submit.local_files import LocalFiles, files_of_job, is_here
from synth_ray.submit.modules import own_modules
from synth_ray.submit.secrets import refuse_secrets
from synth_ray.submit.versions import SUBMITTED_BY
from synth_ray.version import __version__

MAX_BYTES = 50_000_000
"""Of all local files. Ray's own limit of a package is 100 MiB, and every node unpacks it."""
STOP_WAIT, STOP_WAIT_S = "RAY_JOB_STOP_WAIT_TIME_S", "120"
"""Seconds from SIGTERM to SIGKILL when the job is stopped: Ray's own 3 are too few to publish a partial dataset."""
_STOP_WAIT_KEY = "stop_wait_s"

_ON_DISK = re.compile(r"file:(?://)?|sqlite[^:]*:(?:///?)?")
_SLUG = re.compile(r"[^a-z0-9]+")
_JOB_FILES = ("job.yaml", "synth-ray-job.yaml")


@dataclass(frozen=True, slots=True)
class Package:
    """What one submission consists of. `files` are the contents by path below the driver's working directory, the job file among
    them as `job_file`. `entrypoint` is a shell command. `env_vars` and `metadata` are readable by everyone who may see the
    cluster: they hold no secret.
    """

    name: str
    job_digest: str
    output: str
    job_file: str
    files: Mapping[str, bytes]
    entrypoint: str
    env_vars: Mapping[str, str]
    metadata: Mapping[str, str]

    @property
    def id_stem(self) -> str:
        """What the ids of all submissions of this job begin with: its name in plain letters, and its digest."""
        return f"{_SLUG.sub('-', self.name.lower()).strip('-')[:40].strip('-') or 'job'}-{self.job_digest[:8]}"

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self.files.values()))


@dataclass(frozen=True, slots=True)
class Sending:
    """How a job is sent. `python` starts the driver; `run_options` are further arguments of `synth-ray run`; `env` is set in
    every process of the job; `files` are sent besides what the job names. `shared_output`: a local output is on a file system
    that all nodes share.
    """

    python: str = "python"
    run_options: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    shared_output: bool = False


def package_of(
    job: Job, document: Mapping[str, Any], folder: Path, *, job_digest: str, sending: Sending | None = None
) -> Package:
    """The package of a job whose document, overrides included, is `document`.

    `folder` is where the relative paths of the job begin. The result depends on the arguments, the named files and the modules
    that Python finds, alone; nothing is written. Law: the packaged job has the job's own digest, for no key of it changes but the
    paths of files that lie outside `folder`. Raises JobError for what a cluster could not run or should not be told.
    """
    sending = sending or Sending()
    _refuse_local_run(job, sending)
    named = files_of_job(job, folder, more=sending.files)
    files = _contents(named, own_modules(job))
    job_file = next((name for name in _JOB_FILES if name not in files), "")
    if not job_file:
        raise JobError(f"submit: wanted a free name for the job file, got files named {' and '.join(_JOB_FILES)}; rename one")
    env = {STOP_WAIT: STOP_WAIT_S, **sending.env, SUBMITTED_BY: __version__}
    _refuse_stop_wait(env[STOP_WAIT])
    private = {path: data for path, data in files.items() if path not in named.data}
    refuse_secrets(document, allowed=job.scrub.allow, env=sending.env, files=private)
    files[job_file] = _as_yaml(with_overrides(document, named.moved))
    entrypoint = _entrypoint(job_file, sending)
    contents = sorted((path, digest(data.hex())) for path, data in files.items())
    return Package(
        name=job.name,
        job_digest=job_digest,
        output=job.output.path.rstrip("/"),
        job_file=job_file,
        files=dict(sorted(files.items())),
        entrypoint=entrypoint,
        env_vars=env,
        metadata=_metadata(job, job_digest) | {_STOP_WAIT_KEY: env[STOP_WAIT], "package": digest(contents, entrypoint, env)},
    )


def _as_yaml(document: Mapping[str, Any]) -> bytes:
    """Readable where that reads back as it was: PyYAML loses a few characters, such as U+0085, unless it escapes all of them."""
    for is_readable in (True, False):
        text = yaml.safe_dump(document, sort_keys=False, allow_unicode=is_readable, width=120)
        if yaml.safe_load(text) == document:
            break
    return text.encode()


def _refuse_local_run(job: Job, sending: Sending) -> None:
    if job.cluster.engine == "local":
        raise JobError("cluster.engine: wanted ray for a job on a cluster, got local; say --set cluster.engine=ray")
    for key, path in _written_places(job):
        if not sending.shared_output:
            raise JobError(
                f"{key}: wanted a place that every node reaches, as s3://bucket/prefix, got '{path}', which is on one machine; "
                "name a store (--output for the output; for a catalog, its server), or say --shared-output if all nodes share "
                "that file system"
            )
        if not Path(_ON_DISK.sub("", path)).is_absolute():
            raise JobError(f"{key}: wanted an absolute path on the shared file system, got '{path}'; write it from / on")


def _written_places(job: Job) -> Iterator[tuple[str, str]]:
    """By key, the places on a file system that the driver reads or writes beside the package."""
    places = {"output.path": job.output.path, **{f"dedup.against.{n}": p for n, p in enumerate(job.dedup.against)}}
    places |= {f"sinks.{n}.path": sink.path for n, sink in enumerate(job.sinks)}
    yield from ((key, path) for key, path in places.items() if path and is_here(path))
    for n, sink in enumerate(job.sinks):
        uri, warehouse, is_sql = sink.catalog.uri, sink.catalog.warehouse, sink.catalog.type == "sql"
        if _ON_DISK.match(uri) or os.path.isabs(uri):
            yield f"sinks.{n}.catalog.uri", uri
        # of another catalog, a warehouse may be a name that its server knows
        if _ON_DISK.match(warehouse) or warehouse.startswith(("/", ".", "~")) or (is_sql and warehouse and is_here(warehouse)):
            yield f"sinks.{n}.catalog.warehouse", warehouse


def _refuse_stop_wait(seconds: str) -> None:
    if not seconds.isdecimal():
        raise JobError(f"--env {STOP_WAIT}: wanted whole seconds, as 600, got '{seconds[:20]}'; correct it")


def stop_wait_of(metadata: Mapping[str, str]) -> float:
    """Seconds that the driver of a submission has between SIGTERM and SIGKILL, from the submission's metadata."""
    seconds = metadata.get(_STOP_WAIT_KEY, STOP_WAIT_S)
    return float(seconds if seconds.isdecimal() else STOP_WAIT_S)


def refuse_early(job: Job, folder: Path, sending: Sending) -> None:
    """Raise JobError for what can be told at once of a job that cannot be sent, before its rows are read. What it names and is
    not there is left to the preflight, which tells all of it together.
    """
    _refuse_local_run(job, sending)
    try:
        named = files_of_job(job, folder, more=sending.files)
    except JobError:
        return
    _refuse_large(named.files)


def _refuse_large(places: Mapping[str, Path]) -> None:
    sizes = {path: place.stat().st_size for path, place in places.items()}
    if (total := sum(sizes.values())) > MAX_BYTES:
        path = max(sizes, key=lambda path: (sizes[path], path))
        raise JobError(
            f"submit: wanted at most {MAX_BYTES // 10**6} MB of local files, got {total / 1e6:,.0f} MB, most of it in "
            f"'{places[path]}'; copy them to the output's store and name them there (a model: by its name on the Hub, or as "
            "an absolute folder that every node has)"
        )


def _contents(named: LocalFiles, modules: Mapping[str, Path]) -> dict[str, bytes]:
    """What is at each path of the package. Raises JobError for too much of it, and where two files want one path."""
    everything = {**modules, **named.files}
    _refuse_large(everything)
    for path in modules.keys() & named.files.keys():
        if modules[path].read_bytes() != named.files[path].read_bytes():
            raise JobError(f"submit: wanted one file at '{path}', got '{modules[path]}' and '{named.files[path]}'; rename one")
    return {path: _read(place) for path, place in everything.items()}


def _read(place: Path) -> bytes:
    try:
        return place.read_bytes()
    except OSError as error:
        raise JobError(f"submit: wanted to read '{place}', got {error.strerror}; may you read it?") from None


def _entrypoint(job_file: str, sending: Sending) -> str:
    """`exec`, so that a signal reaches the driver and no shell. Ray tells the entrypoint its cluster in RAY_ADDRESS: without an
    address the driver would start a Ray of its own, and `auto` takes the latest of a machine that has several.
    """
    start = shlex.join([sending.python, "-m", "synth_ray.cli.main", "run", job_file])
    return " ".join([f'exec {start} --address "${{RAY_ADDRESS:-auto}}"', *map(shlex.quote, sending.run_options)])


def _metadata(job: Job, job_digest: str) -> dict[str, str]:
    """Texts alone: Ray takes nothing else."""
    output = job.output
    where = {"output": output.path.rstrip("/"), "endpoint_url": output.endpoint_url or "", "region": output.region or ""}
    facts = {"name": job.name, "job_digest": job_digest, "synth_ray": __version__, **where}
    return {name: value for name, value in facts.items() if value}


def parsed_env(pairs: Iterable[str]) -> dict[str, str]:
    """The variables of `NAME=VALUE` texts. Raises JobError."""
    env = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise JobError(f"--env: wanted NAME=VALUE, as HF_HOME=/models/hf, got '{name[:60]}'; correct it")
        env[name] = value
    return env
