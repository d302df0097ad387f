"""The parts that a manifest lists, as a file system for DuckDB over the storage seam: a disk and a bucket alike."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from fsspec import AbstractFileSystem

from synth_ray.dataset.manifest import File
from synth_ray.errors import StorageError
from synth_ray.storage import Storage

_SCHEME = "synth-ray"


def address_of(file: File) -> str:
    return f"{_SCHEME}://{file.path}"


class PartFile:
    """One part, open for reading by several threads at once: DuckDB seeks and then reads, so each thread has its own position."""

    def __init__(self, storage: Storage, file: File, faults: list[str]) -> None:
        self._storage = storage
        self._file = file
        self._faults = faults
        self._own = threading.local()

    def tell(self) -> int:
        return int(getattr(self._own, "position", 0))

    def seek(self, position: int, whence: int = 0) -> int:
        start = {0: 0, 1: self.tell(), 2: self._file.bytes}[whence]
        self._own.position = start + position
        return int(self._own.position)

    def read(self, length: int = -1) -> bytes:
        start, rest = self.tell(), max(0, self._file.bytes - self.tell())
        wanted = rest if length < 0 else min(length, rest)
        data = self._read_range(start, wanted)
        self._own.position = start + len(data)
        return data

    def _read_range(self, start: int, length: int) -> bytes:
        """Bytes of the part. What is wrong with the store is kept in `faults`: DuckDB passes on only its own words for it."""
        try:
            data = self._storage.read_range(self._file.path, start, length)
            if len(data) == length:
                return data
            raise StorageError(
                f"{self._storage.url}/{self._file.path}: wanted the {self._file.bytes} bytes that the manifest lists, got fewer; "
                "restore the file, or run the job again"
            )
        except StorageError as error:
            self._faults.append(str(error))
            raise

    def close(self) -> None:
        """Nothing to close: each read opens the part for itself."""


class ListedFiles(AbstractFileSystem):  # type: ignore[misc]
    """Reads nothing that is not listed. Sizes come from the manifest, so that opening a part asks the store for nothing."""

    protocol = _SCHEME
    cachable = False

    def __init__(self, storage: Storage, files: Iterable[File]) -> None:
        super().__init__()
        self._storage = storage
        self._files: Mapping[str, File] = {file.path: file for file in files}
        self._faults: list[str] = []

    def take_fault(self) -> str:
        """What the store last refused, or nothing; forgotten afterwards."""
        fault = self._faults[-1] if self._faults else ""
        self._faults.clear()
        return fault

    def _listed(self, path: str) -> File:
        file = self._files.get(path.removeprefix(f"{_SCHEME}://"))
        if file is None:
            raise FileNotFoundError("not a file of this dataset")
        return file

    def glob(self, path: str, **_: Any) -> list[str]:
        return [self._listed(path).path]

    def exists(self, path: str, **_: Any) -> bool:
        return path.removeprefix(f"{_SCHEME}://") in self._files

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        file = self._listed(path)
        return {"name": file.path, "size": file.bytes, "type": "file"}

    def modified(self, path: str) -> datetime:
        """Always the same: the name of a part has the digest of its bytes."""
        self._listed(path)
        return datetime.fromtimestamp(0, UTC)

    def _open(self, path: str, mode: str = "rb", **_: Any) -> PartFile:
        if mode != "rb":
            raise PermissionError("the files of a dataset are only read")
        return PartFile(self._storage, self._listed(path), self._faults)
