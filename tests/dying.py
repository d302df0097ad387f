"""A store whose user dies: at the n-th effect, just before it or just after, as a killed process does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from synth_ray.storage import Entry, Storage


class Killed(BaseException):
    """No except clause of the program may catch it."""


class DyingStorage:
    """Passes everything on to a real store until effect number `at`; a dead writer has no effect any more."""

    def __init__(self, inner: Storage, *, at: int | None, after: bool = False) -> None:
        self._inner = inner
        self._at = at
        self._after = after
        self._dead = False
        self.url = inner.url
        self.effects: list[str] = []

    @contextmanager
    def _effect(self, what: str) -> Iterator[None]:
        mine = self._at == len(self.effects)
        self.effects.append(what)
        if self._dead or (mine and not self._after):
            self._dead = True
            raise Killed(what)
        try:
            yield
        finally:
            if mine:
                self._dead = True
                raise Killed(what)

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
        with self._effect(f"write {path}"):
            self._inner.write(path, data)

    def create(self, path: str, data: bytes) -> str:
        with self._effect(f"create {path}"):
            return self._inner.create(path, data)

    def swap(self, path: str, data: bytes, etag: str) -> str:
        with self._effect(f"swap {path}"):
            return self._inner.swap(path, data, etag)

    def delete(self, path: str) -> None:
        with self._effect(f"delete {path}"):
            self._inner.delete(path)

    @contextmanager
    def upload(self, path: str) -> Iterator[Any]:
        with self._effect(f"upload {path}"), self._inner.upload(path) as out:
            yield out

    def sweep_uploads(self, *, older_than_s: float) -> int:
        with self._effect("sweep"):
            return self._inner.sweep_uploads(older_than_s=older_than_s)
