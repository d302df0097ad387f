"""Opens the stores and files that a job's sections name."""

from __future__ import annotations

import glob
import io
from fnmatch import fnmatchcase
from typing import Any, BinaryIO, cast

from synth_ray.errors import JobError, StorageError
from synth_ray.job.output import Output
from synth_ray.storage import Storage, open_file, open_storage, split_url


def open_output(output: Output) -> Storage:
    """The store at the job's output prefix. Credentials come from the standard AWS chain alone."""
    return open_storage(
        output.path,
        endpoint_url=output.endpoint_url,
        region=output.region,
        single_writer=output.single_writer,
    )


def files_at(path: str, **where: Any) -> list[str]:
    """The files that a path or glob matches, in order. Raises JobError when a glob matches none."""
    scheme, bucket, key = split_url(path)
    if not glob.has_magic(path):
        return [path]
    if scheme == "s3":
        folder = "/".join(_plain_start(key))
        root = f"s3://{bucket}/{folder}".rstrip("/")
        rest = key[len(folder) :].lstrip("/")
        paths = [f"{root}/{e.path}" for e in open_storage(root, **where).list() if fnmatchcase(e.path, rest)]
    else:
        paths = sorted(glob.glob(path, recursive=True))
    if not paths:
        raise JobError(f"seeds: wanted files at '{path}', got none that match; fix the path")
    return paths


def _plain_start(key: str) -> list[str]:
    """The leading folders of a glob that contain no wildcard."""
    parts = key.split("/")
    return parts[: next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)]


def open_input(path: str, **where: Any) -> BinaryIO:
    """A seekable, buffered binary file, which can be read line by line. Raises JobError."""
    try:
        return cast(BinaryIO, io.BufferedReader(open_file(path, **where), 1 << 20))
    except StorageError as error:
        raise JobError(f"seeds: wanted to read '{path}', got {type(error).__name__}; is it there, and may you read it?") from None
