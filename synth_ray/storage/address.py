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

PLACES = "a local path, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix"
"""What an address of a store may be, for messages."""

_AZURE_HOST = ".dfs.core.windows.net"
_BUCKETS = {
    "s3": re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"),
    "gs": re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]"),
    "az": re.compile(r"[a-z0-9](?:-?[a-z0-9]){2,62}"),
    "abfss": re.compile(r"[a-z0-9](?:-?[a-z0-9]){2,62}@[a-z0-9]{3,24}" + re.escape(_AZURE_HOST)),
}
_FORMS = {
    "s3": "s3://bucket/prefix with a plain bucket name",
    "gs": "gs://bucket/prefix with a plain bucket name",
    "az": "az://container/prefix with a plain container name of 3 to 63 letters",
    "abfss": f"abfss://container@account{_AZURE_HOST}/prefix",
}


def is_remote(address: str) -> bool:
    """Whether the address is of a bucket or container, which `open_storage` can open, however well it is formed."""
    return address.partition("://")[0] in _BUCKETS and "://" in address


def split_url(url: str) -> tuple[str, str, str]:
    """(scheme, bucket, path): ("s3" | "gs" | "az", bucket, key or prefix), or ("file", "", local path). Raises StorageError.

    Of an abfss:// address the scheme is "az", and the bucket is container@account.
    """
    scheme, mark, rest = url.partition("://")
    if not mark:
        return "file", "", _local(url)
    if scheme == "file":
        return "file", "", _local(rest)
    if scheme not in _BUCKETS:
        raise StorageError(f"address: wanted {PLACES}, got scheme '{scheme[:20]}'; use one of these")
    bucket, _, path = rest.partition("/")
    if not _BUCKETS[scheme].fullmatch(bucket):
        raise StorageError(
            f"address: wanted {_FORMS[scheme]}, got another form; "
            "credentials never go into an address, only into the cloud's standard chain"
        )
    path = path.rstrip("/")
    return _scheme_of(scheme), bucket.removesuffix(_AZURE_HOST), validate_path(path) if path else ""


def _scheme_of(scheme: str) -> str:
    return "az" if scheme == "abfss" else scheme


def _local(path: str) -> str:
    if not path or "\0" in path:
        raise StorageError(f"address: wanted {PLACES}, got an empty one or one with NUL; name a place")
    return path


def validate_endpoint(endpoint_url: str | None) -> str | None:
    """The endpoint, if it is an http(s) URL without user or password. Raises StorageError."""
    if endpoint_url is None:
        return None
    parts = urlsplit(endpoint_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.query:
        raise StorageError(
            "endpoint_url: wanted http(s)://host[:port], got another form; "
            "credentials never go into an address, only into the cloud's standard chain"
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
    """The store at a local path or at an address of S3, GCS or Azure. Sends no request and creates nothing. Raises JobError.

    `endpoint_url` is another server than the cloud's own, and may be http there. `region` is for S3 alone: the others find a
    bucket by its name. `single_writer` promises that nobody else writes here: conditions are then checked before a write instead
    of enforced by it, for stores without conditional writes.
    """
    scheme, bucket, path = split_url(url)
    if scheme == "file":
        return LocalStorage(path, enforced=not single_writer)
    endpoint_url, retry = validate_endpoint(endpoint_url), retry or Retry()
    if scheme == "s3":
        from synth_ray.storage.s3 import S3Storage  # boto3 takes a third of a second to import
        from synth_ray.storage.s3_client import client_for

        client = client_for(endpoint_url, region, timeout_s)
        return S3Storage(bucket, path, client=client, retry=retry, enforced=not single_writer)
    from synth_ray.storage.object_client import open_client  # of an extra, not always installed
    from synth_ray.storage.object_store import ObjectStorage

    cloud = open_client(scheme, bucket, endpoint_url=endpoint_url, timeout_s=timeout_s, retry=retry)
    return ObjectStorage(url.rstrip("/"), path, client=cloud, retry=retry, enforced=not single_writer)


def open_file(url: str, *, endpoint_url: str | None = None, region: str | None = None) -> Any:
    """A seekable binary file at a local path or in a bucket. Raises ObjectNotFound, StorageError."""
    scheme, _, path = split_url(url)
    if scheme == "file":
        place = Path(path)
        return LocalStorage(place.parent).open_input(place.name)
    root, _, name = url.rstrip("/").rpartition("/")
    return open_storage(root, endpoint_url=endpoint_url, region=region).open_input(name)
