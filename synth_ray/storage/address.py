"""Opens the store or the file at an address."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from synth_ray.errors import StorageError
from synth_ray.storage.contract import Storage, validate_path
from synth_ray.storage.local import LocalStorage
from synth_ray.storage.retry import Retry

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def split_url(url: str) -> tuple[str, str, str]:
    """(scheme, bucket, path): ("s3", bucket, key or prefix), or ("file", "", local path). Raises StorageError."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return "file", "", _local(url)
    if scheme == "file":
        return "file", "", _local(rest)
    if scheme != "s3":
        raise StorageError(f"address: wanted a local path or s3://bucket/prefix, got scheme '{scheme[:20]}'; use one of these")
    bucket, _, path = rest.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise StorageError(
            "address: wanted s3://bucket/prefix with a plain bucket name, got another form; "
            "credentials never go into an address, only into the standard AWS chain"
        )
    path = path.rstrip("/")
    return "s3", bucket, validate_path(path) if path else ""


def _local(path: str) -> str:
    if not path or "\0" in path:
        raise StorageError("address: wanted a path or s3://bucket/prefix, got an empty one or one with NUL; name a place")
    return path


def validate_endpoint(endpoint_url: str | None) -> str | None:
    """The endpoint, if it is an http(s) URL without user or password. Raises StorageError."""
    if endpoint_url is None:
        return None
    parts = urlsplit(endpoint_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.query:
        raise StorageError(
            "endpoint_url: wanted http(s)://host[:port], got another form; "
            "credentials never go into an address, only into the standard AWS chain"
        )
    return endpoint_url


def open_storage(
    url: str,
    *,
    endpoint_url: str | None = None,
    region: str | None = None,
    single_writer: bool = False,
    retry: Retry | None = None,
    timeout_s: float = 60.0,
) -> Storage:
    """The store at a local path or s3://bucket/prefix. Sends no request and creates nothing. Raises JobError.

    `single_writer` promises that nobody else writes here: conditions are then checked before a write instead of enforced by it,
    for stores without conditional writes.
    """
    scheme, bucket, path = split_url(url)
    if scheme == "file":
        return LocalStorage(path, enforced=not single_writer)
    from synth_ray.storage.s3 import S3Storage  # boto3 takes a third of a second to import
    from synth_ray.storage.s3_client import client_for

    client = client_for(validate_endpoint(endpoint_url), region, timeout_s)
    return S3Storage(bucket, path, client=client, retry=retry or Retry(), enforced=not single_writer)


def open_file(url: str, *, endpoint_url: str | None = None, region: str | None = None) -> Any:
    """A seekable binary file at a local path or an s3:// address. Raises ObjectNotFound, StorageError."""
    scheme, bucket, path = split_url(url)
    if scheme == "file":
        place = Path(path)
        return LocalStorage(place.parent).open_input(place.name)
    folder, _, name = path.rpartition("/")
    root = f"s3://{bucket}/{folder}" if folder else f"s3://{bucket}"
    return open_storage(root, endpoint_url=endpoint_url, region=region).open_input(name)
