"""Objects as files in a folder."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from synth_ray.errors import Conflict, ObjectNotFound, StorageError
from synth_ray.storage.contract import RESERVED, Entry, validate_path, validate_prefix

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_FOUND = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


class LocalStorage:
    """See `contract.Storage`. Every new name is fsynced into its folder.

    A write goes to a temporary file, which is fsynced and renamed. `create` makes a hard link, so that of two concurrent writers
    one wins; `swap` compares under a lock. With `enforced=False`, `create` compares under the lock too, for filesystems without
    hard links.
    """

    def __init__(self, root: str | Path, *, enforced: bool = True) -> None:
        self._root = Path(root).absolute()
        self._enforced = enforced
        self.url = str(self._root)

    def _place(self, path: str) -> Path:
        return self._root / validate_path(path)

    def read(self, path: str) -> bytes:
        with self._translating_errors(path):
            return self._place(path).read_bytes()

    def read_range(self, path: str, start: int, length: int) -> bytes:
        with self._translating_errors(path), self._place(path).open("rb") as file:
            file.seek(start)
            return file.read(length)

    def open_input(self, path: str) -> Any:
        with self._translating_errors(path):
            if not self.exists(path):  # pyarrow's own error has no errno
                raise FileNotFoundError
            return pa.OSFile(str(self._place(path)), "rb")

    def write(self, path: str, data: bytes) -> None:
        with self._translating_errors(path, writing=True), self._temporary(path) as file:
            file.write(data)
            self._rename_into_place(file, self._place(path))

    def create(self, path: str, data: bytes) -> str:
        with self._translating_errors(path, writing=True), self._temporary(path) as file:
            file.write(data)
            if not (self._link(file, path) if self._enforced else self._publish_new(file, path)):
                raise Conflict(f"{self._name(path)}: wanted to create it, got one that is there; another writer won")
        return _etag(data)

    def swap(self, path: str, data: bytes, etag: str) -> str:
        with self._translating_errors(path, writing=True), self._lock(), self._temporary(path) as file:
            place = self._place(path)
            if not place.is_file() or _etag(place.read_bytes()) != etag:
                raise Conflict(f"{self._name(path)}: wanted the version read before, got another; another writer won")
            file.write(data)
            self._rename_into_place(file, place)
        return _etag(data)

    def etag(self, path: str) -> str:
        return _etag(self.read(path))

    def read_with_etag(self, path: str) -> tuple[bytes, str]:
        data = self.read(path)
        return data, _etag(data)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        folder, _, start = validate_prefix(prefix).rpartition("/")
        with self._translating_errors(prefix or "."):
            yield from _walk(self._root / folder, f"{folder}/" if folder else "", start)

    def exists(self, path: str) -> bool:
        return self._place(path).is_file()

    def delete(self, path: str) -> None:
        with self._translating_errors(path, writing=True), suppress(*_NOT_FOUND):
            self._place(path).unlink()

    def delete_many(self, paths: Iterable[str]) -> None:
        for path in paths:
            self.delete(path)

    @contextmanager
    def upload(self, path: str) -> Iterator[LocalUpload]:
        with self._temporary(path) as file:
            upload = LocalUpload(file, lambda: self._translating_errors(path, writing=True))
            try:
                yield upload
            finally:
                upload.closed = True
            with self._translating_errors(path, writing=True):
                self._rename_into_place(file, self._place(path))

    def sweep_uploads(self, *, older_than_s: float) -> int:
        oldest = time.time() - older_than_s
        swept = 0
        for file in (self._root / RESERVED).glob("*.part"):
            with suppress(FileNotFoundError):  # its writer may have just finished it
                if file.stat().st_mtime <= oldest:
                    file.unlink()
                    swept += 1
        return swept

    def probe_conditional(self) -> bool:
        path = f"_probe-{uuid.uuid4().hex}"
        try:
            self.create(path, b"1")
            self.create(path, b"2")
        except Conflict:
            return self.read(path) == b"1"
        except StorageError as error:
            if "hard link" in str(error):
                return False
            raise
        finally:
            self.delete(path)
        return False

    def _name(self, path: str) -> str:
        return f"{self.url}/{path}"

    @contextmanager
    def _temporary(self, path: str) -> Iterator[IO[bytes]]:
        """A temporary file, removed at the end unless it was renamed. Its folder is outside every reader's glob."""
        validate_path(path)
        folder = self._root / RESERVED
        _make_folder(folder)
        file = (folder / f"{uuid.uuid4().hex}.part").open("w+b")
        try:
            yield file
        finally:
            with suppress(OSError):  # close flushes, and a full disk has already been reported
                file.close()
            with suppress(FileNotFoundError):
                os.unlink(file.name)

    def _link(self, file: IO[bytes], path: str) -> bool:
        _sync(file)
        place = self._place(path)
        _make_folder(place.parent)
        try:
            os.link(file.name, place)
        except FileExistsError:
            return False
        _sync_folder(place.parent)
        return True

    def _publish_new(self, file: IO[bytes], path: str) -> bool:
        with self._lock():
            if self.exists(path):
                return False
            self._rename_into_place(file, self._place(path))
            return True

    def _rename_into_place(self, file: IO[bytes], place: Path) -> None:
        _sync(file)
        _make_folder(place.parent)
        os.replace(file.name, place)
        _sync_folder(place.parent)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """One thread of one process at a time; the kernel releases the lock when the process dies."""
        folder = self._root / RESERVED
        _make_folder(folder)
        with (folder / "lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _translating_errors(self, path: str, *, writing: bool = False) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if isinstance(error, _NOT_FOUND) and not writing:
                raise ObjectNotFound(f"{self._name(path)}: wanted an object, got none; check the path") from None
            raise StorageError(f"{self._name(path)}: {_message_for(error)}") from None


class LocalUpload:
    """See `contract.Upload`."""

    def __init__(self, file: IO[bytes], guard: Callable[[], AbstractContextManager[None]]) -> None:
        self._file = file
        self._translating_errors = guard
        self.closed = False

    def write(self, data: Any) -> int:
        if self.closed:
            raise ValueError("write to an upload that has ended")
        with self._translating_errors():
            return self._file.write(data)

    def flush(self) -> None:
        """Nothing to do: publishing fsyncs the file."""

    def tell(self) -> int:
        return self._file.tell()


def _message_for(error: OSError) -> str:
    if error.errno in _DISK_FULL:
        return "wanted room to write, got a full disk; free some space, then run the same command: it goes on"
    if error.errno in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
        return (
            "wanted a hard link, which keeps two writers apart, got a filesystem that refuses it; use another place, "
            "or set output.single_writer: true if nobody else writes here"
        )
    return f"wanted to reach it, got '{os.strerror(error.errno or 0)}'; check the path and its permissions"


def _etag(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _make_folder(folder: Path) -> None:
    """Make a folder that survives a power cut: its parent folder is fsynced too."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir()
        _sync_folder(folder.parent)


def _walk(folder: Path, prefix: str, start: str) -> Iterator[Entry]:
    """Files under a folder, in the order in which a bucket lists them: 'a-b' before 'a/b'."""
    if not folder.is_dir():
        return
    entries = [(e.name + "/" if e.is_dir() else e.name, e) for e in os.scandir(folder) if e.name.startswith(start)]
    for name, entry in sorted(entries, key=lambda pair: os.fsencode(pair[0])):
        if not prefix and name == f"{RESERVED}/":
            continue
        if entry.is_dir():
            yield from _walk(folder / entry.name, prefix + name, "")
            continue
        with suppress(FileNotFoundError):  # a file may be deleted while the folder is listed
            status = entry.stat()
            yield Entry(prefix + name, status.st_size, status.st_mtime)
