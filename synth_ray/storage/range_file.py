"""A file over ranged reads of one version of an object."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from synth_ray.errors import StorageError

_READ_BYTES = 4 * 2**20  # one request of a sequential read: large enough that its latency is small beside its transfer time


def buffered_input(raw: RangeFile) -> Any:
    """The file as pyarrow reads it."""
    return pa.PythonFile(io.BufferedReader(raw, buffer_size=_READ_BYTES), mode="r")


class RangeFile(io.RawIOBase):
    """A seekable file over ranged reads of one version of an object. Raises StorageError when the object was replaced."""

    def __init__(self, fetch: Callable[[int, int], tuple[Any, str]], size: int, etag: str, path: str) -> None:
        self._fetch = fetch
        self._size = size
        self._etag = etag
        self._path = path
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self._size - self._position)
        if wanted <= 0:
            return 0
        data, etag = self._fetch(self._position, wanted)
        if etag != self._etag:
            raise StorageError(f"{self._path}: wanted the version opened, got another; it was replaced while read: read again")
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
