"""The interface of every store, and the paths it accepts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from synth_ray.errors import StorageError

RESERVED = ".tmp"
"""The one name at the root that no object may have: unfinished local writes are under it."""

_MAX_PATH_BYTES = 900


@dataclass(frozen=True, slots=True)
class Entry:
    """An object in a listing. `modified` is in seconds since 1970, by the store's clock."""

    path: str
    size: int
    modified: float


class Upload(Protocol):
    """An open upload of a large object. The object is visible only after its block has ended without an exception."""

    closed: bool

    def write(self, data: Any, /) -> int: ...

    def flush(self) -> None: ...

    def tell(self) -> int: ...


class Storage(Protocol):
    """Objects under one root, by relative path with '/' between names.

    Raises ObjectNotFound for a missing object, Conflict where a condition did not hold, StorageError for everything else.
    """

    url: str

    def read(self, path: str) -> bytes: ...

    def read_range(self, path: str, start: int, length: int) -> bytes:
        """Bytes [start, start + length), fewer only at the end of the object."""
        ...

    def open_input(self, path: str) -> Any:
        """A seekable pyarrow file. If the object is replaced meanwhile, reading fails instead of mixing two versions."""
        ...

    def write(self, path: str, data: bytes) -> None:
        """Put the object, replacing any older version; a reader sees the old bytes or the new ones."""
        ...

    def create(self, path: str, data: bytes) -> str:
        """Put the object and return its etag. Raises Conflict if it exists: of two concurrent writers exactly one wins."""
        ...

    def swap(self, path: str, data: bytes, etag: str) -> str:
        """Replace the version `etag` and return the new etag. Raises Conflict if that is no longer the current version."""
        ...

    def etag(self, path: str) -> str: ...

    def read_with_etag(self, path: str) -> tuple[bytes, str]:
        """The bytes and the etag of the same version."""
        ...

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Objects whose path begins with `prefix`, in any order: not every store has one. Each is told once."""
        ...

    def exists(self, path: str) -> bool: ...

    def delete(self, path: str) -> None:
        """Remove the object; a missing one is no error."""
        ...

    def delete_many(self, paths: Iterable[str]) -> None:
        """Remove the objects, in as few requests as the store allows; a missing one is no error. After an error some are gone,
        and the rest are not.
        """
        ...

    def upload(self, path: str) -> AbstractContextManager[Upload]:
        """Write a large object as a stream; an exception inside the block discards it."""
        ...

    def sweep_uploads(self, *, older_than_s: float) -> int:
        """Remove what crashed uploads left behind; returns how many. Where a policy hides them, a warning says so."""
        ...

    def probe_conditional(self) -> bool:
        """Whether this store enforces `create` and `swap`, found by trying them."""
        ...


def validate_path(path: str) -> str:
    """The path, if it stays under the root and is valid both on a disk and in a bucket. Raises StorageError."""
    if _is_safe(path):
        return path
    raise StorageError(
        f"object path: wanted a relative path of plain '/'-separated names, got text of length {len(path)} "
        "that leaves the root or holds '.', '..', an empty name, a backslash or a control character; rename it"
    )


def validate_prefix(prefix: str) -> str:
    """The prefix: a path that may end in '/' or be empty. Raises StorageError."""
    if prefix:
        validate_path(prefix[:-1] if prefix.endswith("/") else prefix)
    return prefix


def _is_safe(path: str) -> bool:
    names = path.split("/")
    if any(name in ("", ".", "..") for name in names) or names[0] == RESERVED:
        return False
    if "\\" in path or any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or 0xD800 <= ord(c) < 0xE000 for c in path):
        return False
    return len(path.encode()) <= _MAX_PATH_BYTES and all(len(n.encode()) <= 255 for n in names)
