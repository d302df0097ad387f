"""Registers versions in tables: read, commit once on what was read, and read again where nobody knows whether it landed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from synth_ray.dataset.manifest import File, Manifest, read_manifest
from synth_ray.dataset.registrations import Registration, write_down
from synth_ray.errors import Conflict, JobError, StorageError, SynthRayError
from synth_ray.job.document import Job
from synth_ray.job.sinks import Sink
from synth_ray.lake.contract import SPLIT, CommitLost, Part, Shape, Table, Version
from synth_ray.lake.delta import DeltaTable
from synth_ray.lake.iceberg import IcebergTable
from synth_ray.lake.lance import LanceTable
from synth_ray.lake.libraries import FROM_ENVIRONMENT, Server, scheme_of
from synth_ray.storage import Retry, Storage
from synth_ray.storage.retry import Transient

_NULL = "__HIVE_DEFAULT_PARTITION__"
_RETRY = Retry(budget_s=60.0)


@dataclass(frozen=True, slots=True)
class Registered:
    """A version in a table. `is_new` is false where the table had it already."""

    table: str
    snapshot: str
    rows: int
    is_new: bool

    def __str__(self) -> str:
        return f"{self.table}, snapshot {self.snapshot}, {self.rows:,} rows" + ("" if self.is_new else ", was there already")


def open_table(sink: Sink, root: str, server: Server = FROM_ENVIRONMENT) -> Table:
    """The table of a sink of the dataset at `root`. Raises JobError where its library is missing."""
    root = root if "://" in root else str(Path(root).absolute())
    if sink.format == "iceberg":
        return IcebergTable(sink, root, server)
    if sink.format == "delta":
        return DeltaTable(root, server)
    return LanceTable(sink.path or f"{root}/export/lance", server)


def check_sinks(job: Job, schema: pa.Schema) -> list[SynthRayError]:
    """What is wrong with the job's sinks: JobError, or StorageError where a catalog or a store did not answer.

    `schema` is that of the job's accepted rows. Nothing is written.
    """
    problems: list[SynthRayError] = []
    shape = Shape(_with_split(schema), [SPLIT, *job.output.partition_by])
    for place, sink in enumerate(job.sinks):
        try:
            open_table(sink, job.output.path.rstrip("/"), _server_of(job)).check(shape)
        except SynthRayError as error:
            kind = StorageError if isinstance(error, StorageError) else JobError
            problems.append(kind(f"sinks.{place}: {error}"))
    return problems


def register_sinks(job: Job, storage: Storage, manifest: Manifest) -> tuple[list[Registered], list[str]]:
    """Register a published version in each of the job's tables. Returns what is registered, and a sentence for each failure.

    A version of a run that stopped short is registered only where `partial` says so.
    """
    registered, problems = [], []
    for sink in job.sinks:
        if not manifest.complete and not sink.partial:
            continue
        try:
            registered.append(register_version(storage, manifest, sink, server=_server_of(job)))
        except SynthRayError as error:
            problems.append(f"{error}; the dataset is published: `synth-ray export` registers it once the cause is mended")
    return registered, problems


def register_version(
    storage: Storage,
    manifest: Manifest,
    sink: Sink,
    *,
    server: Server = FROM_ENVIRONMENT,
    retry: Retry = _RETRY,
) -> Registered:
    """Make the table show this version, by one commit, or by none where it does so already.

    Raises JobError for a table that cannot take it, Conflict when another version was published meanwhile, StorageError past the
    retry's budget. After any of them, and after a kill, the same call does what is left.
    """
    table = open_table(sink, storage.url, server)
    version = version_of(storage, manifest)
    if (snapshot := table.find(version)) is not None:
        _note(storage, table, version, snapshot)
        return Registered(table.address, snapshot, version.rows, is_new=False)
    _note(storage, table, version)

    def commit(_attempt: int) -> str:
        if (found := table.find(version)) is not None:
            return found
        _refuse_superseded(storage, version)
        try:
            table.register(version, lambda: _refuse_superseded(storage, version))
        except CommitLost as error:
            raise Transient(str(error)) from None
        return table.find(version) or _refuse_other_rows(storage, table, version)

    snapshot = retry.call(commit, name=table.address)
    _note(storage, table, version, snapshot)
    return Registered(table.address, snapshot, version.rows, is_new=True)


def version_of(storage: Storage, manifest: Manifest) -> Version:
    """The version that a manifest describes. Raises JobError for a part that is not as the manifest says."""
    columns = [SPLIT, *manifest.partition_by]
    parts = [_part(file, columns) for file in manifest.files if file.rows]
    with storage.open_input(manifest.files[0].path) as opened:
        try:
            schema = pq.read_schema(opened).remove_metadata()
        except (pa.ArrowException, OSError):
            raise JobError(
                f"{manifest.files[0].path}: wanted the Parquet file of the manifest, got a broken one; restore it, or run "
                "the job again"
            ) from None
    shape = Shape(_with_split(schema), columns)
    return Version(manifest.name, manifest.dataset_digest, manifest.job_digest, storage, parts, shape)


def _part(file: File, columns: Sequence[str]) -> Part:
    folders = dict(name.split("=", 1) for name in file.path.split("/")[1:-1])
    values = {name: None if folders[name] == _NULL else unquote(folders[name]) for name in columns}
    return Part(file.path, values, file.rows, file.bytes)


def _with_split(schema: pa.Schema) -> pa.Schema:
    return pa.schema([*schema, pa.field(SPLIT, pa.string())])


def _server_of(job: Job) -> Server:
    return Server(job.output.endpoint_url, job.output.region, scheme_of(job.output.path))


def _refuse_superseded(storage: Storage, version: Version) -> None:
    """A registrar that waited long must not put its version over a later one."""
    if read_manifest(storage).dataset_digest != version.dataset_digest:
        raise Conflict(
            f"{storage.url}: wanted to register the published version, got another one, published meanwhile; "
            "run the command again"
        )


def _refuse_other_rows(storage: Storage, table: Table, version: Version) -> NoReturn:
    """A commit that landed, and yet the table shows something else: no further commit would mend that."""
    _refuse_superseded(storage, version)
    raise StorageError(
        f"{table.address}: wanted the {version.rows:,} rows just committed, got a table with others; see who else writes to it, "
        "then run the same command again"
    )


def _note(storage: Storage, table: Table, version: Version, snapshot: str = "") -> None:
    parts = [] if table.copies else [part.path for part in version.parts]
    write_down(storage, table.address, Registration(version.dataset_digest, version.job_digest, snapshot, parts))
