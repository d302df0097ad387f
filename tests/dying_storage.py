"""A store that simulates a process killed at its n-th write, just before or just after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from synth_ray.storage import Entry, Storage


class Killed(BaseException):
    """The simulated kill: a BaseException, so that no `except Exception` of the program catches it."""


class DyingStorage:
    """Forwards to a real store. Write number `at` raises Killed, before it or `after` it, and so does every later write."""

    def __init__(self, inner: Storage, *, at: int | None, after: bool = False) -> None:
        self._inner = inner
        self._at = at
        self._after = after
        self._dead = False
        self.url = inner.url
        self.writes: list[str] = []

    @contextmanager
    def _write_attempt(self, write_name: str) -> Iterator[None]:
        is_fatal = self._at == len(self.writes)
        self.writes.append(write_name)
        if self._dead or (is_fatal and not self._after):
            self._dead = True
            raise Killed(write_name)
        try:
            yield
        finally:
            if is_fatal:
                self._dead = True
                raise Killed(write_name)

    def read(self, path: str) -> bytes:
        return self._inner.read(path)

    def read_range(self, path: str, start: int, length: int) -> bytes:
        return self._inner.read_range(path, start, length)

    def read_with_etag(self, path: str) -> tuple[bytes, str]:
        return self._inner.read_with_etag(path)

    def open_input(self, path: str) -> Any:
        return self._inner.open_input(path)

    def etag(self, path: str) -> str:
        return self._inner.etag(path)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        return self._inner.list(prefix)

    def exists(self, path: str) -> bool:
        return self._inner.exists(path)

    def probe_conditional(self) -> bool:
        return self._inner.probe_conditional()

    def write(self, path: str, data: bytes) -> None:
        with self._write_attempt(f"write {path}"):
            self._inner.write(path, data)

    def create(self, path: str, data: bytes) -> str:
        with self._write_attempt(f"create {path}"):
            return self._inner.create(path, data)

    def swap(self, path: str, data: bytes, etag: str) -> str:
        with self._write_attempt(f"swap {path}"):
            return self._inner.swap(path, data, etag)

    def delete(self, path: str) -> None:
        with self._write_attempt(f"delete {path}"):
            self._inner.delete(path)

    def delete_many(self, paths: Iterable[str]) -> None:
        for path in paths:
            self.delete(path)

    @contextmanager
    def upload(self, path: str) -> Iterator[Any]:
        with self._write_attempt(f"upload {path}"), self._inner.upload(path) as out:
            yield out

    def sweep_uploads(self, *, older_than_s: float) -> int:
        with self._write_attempt("sweep"):
            return self._inner.sweep_uploads(older_than_s=older_than_s)
