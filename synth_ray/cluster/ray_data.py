"""Ray Data: seeds from a `ray.data.Dataset`, and a published dataset as one."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from synth_ray.dataset.manifest import read_manifest
from synth_ray.errors import JobError
from synth_ray.job.output import Output
from synth_ray.storage import open_storage, split_url
from synth_ray.storage.job_files import open_output

_BLOCK = 1 << 20
_BATCH_ROWS = 4096


def is_ray_dataset(value: object) -> bool:
    """Told by its class's name, so that asking imports nothing."""
    return any(kind.__module__ == "ray.data.dataset" and kind.__name__ == "Dataset" for kind in type(value).__mro__)


def with_stored_seeds(document: Mapping[str, Any]) -> dict[str, Any]:
    """The job with each Ray dataset among its seeds replaced by a file below its output, which a later run reads again.

    A dataset is read once, in its order: `_synth/seeds/<digest of its content>.parquet`. Raises JobError.
    """
    seeds = document["seeds"]
    listed = list(seeds) if isinstance(seeds, (list, tuple)) else [seeds]
    if not any(map(is_ray_dataset, listed)):
        return dict(document)
    output = _output_of(document)
    return {**document, "seeds": [_stored(seed, output) if is_ray_dataset(seed) else seed for seed in listed]}


def _output_of(document: Mapping[str, Any]) -> Output:
    if not document.get("output"):
        raise JobError("output: wanted the dataset's address, below which a Ray dataset is stored, got none; name one")
    try:
        return Output.model_validate(document.get("output"))
    except ValidationError as error:
        what = "; ".join(str(problem["msg"]).removeprefix("Value error, ") for problem in error.errors())
        raise JobError(f"output: {what}; it is where the rows of a Ray dataset are stored for the run") from None


def _stored(dataset: Any, output: Output) -> str:
    with tempfile.TemporaryDirectory(prefix="synth-ray-") as folder:
        file = Path(folder) / "seeds.parquet"
        _write(dataset, file)
        with file.open("rb") as data:
            path = f"_synth/seeds/{hashlib.file_digest(data, 'sha256').hexdigest()[:32]}.parquet"
        storage = open_output(output)
        if not storage.exists(path):
            with storage.upload(path) as upload, file.open("rb") as data:
                while block := data.read(_BLOCK):
                    upload.write(block)
    return f"{output.path.rstrip('/')}/{path}"


def _write(dataset: Any, file: Path) -> None:
    """One file in the dataset's own order, which Ray keeps only where it is asked to.

    Raises JobError, which names the type of an error alone: Ray's text quotes the rows that its task failed on.
    """
    from ray.exceptions import RayError

    options = dataset.context.execution_options
    before, options.preserve_order = options.preserve_order, True
    writer: pq.ParquetWriter | None = None
    try:
        for batch in dataset.iter_batches(batch_format="pyarrow", batch_size=_BATCH_ROWS):
            writer = writer or pq.ParquetWriter(file, batch.schema)
            writer.write_table(batch.cast(writer.schema))
    except RayError as error:
        raise JobError(
            f"seeds: wanted a Ray dataset that can be read, got {type(error).__name__}; read it by itself, as by "
            "`.count()`, to see why"
        ) from None
    except (pa.ArrowException, ValueError) as error:
        raise JobError(
            f"seeds: wanted a Ray dataset whose blocks have one schema, got {type(error).__name__}; cast its columns first"
        ) from None
    finally:
        options.preserve_order = before
        if writer is not None:
            writer.close()
    if writer is None:
        raise JobError("seeds: wanted a Ray dataset with rows, got an empty one; name another")


def ray_dataset(prefix: str, split: str, *, endpoint_url: str | None = None, region: str | None = None) -> Any:
    """One split of the version published at `prefix`: exactly the files that its manifest lists. Raises JobError."""
    import ray.data

    manifest = read_manifest(open_storage(prefix, endpoint_url=endpoint_url, region=region))
    files = [file.path for file in manifest.files if file.split == split]
    if not files:
        there = ", ".join(sorted(manifest.splits)) or "none"
        raise JobError(f"{prefix}: wanted the split {split}, got a dataset with {there}; name one of these")
    scheme, bucket, path = split_url(prefix)
    root = "/".join(part for part in (bucket, path) if part)
    where = {"filesystem": _arrow_filesystem(scheme, endpoint_url, region)} if scheme != "file" else {}
    return ray.data.read_parquet([f"{root}/{file}" for file in files], **where)


def _arrow_filesystem(scheme: str, endpoint_url: str | None, region: str | None) -> Any:
    from pyarrow import fs

    if scheme != "s3":
        raise JobError(f"wanted a dataset on a disk or s3:// for Ray Data, got {scheme}://; copy it, or read its files by URL")
    return fs.S3FileSystem(endpoint_override=endpoint_url, region=region)
