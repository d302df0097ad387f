"""Writes that belong to one published version: refused once a later one is published."""

from __future__ import annotations

from typing import Any

from synth_ray.dataset.manifest import PATH as MANIFEST
from synth_ray.errors import Conflict, ObjectNotFound
from synth_ray.storage import Storage


class OfVersion:
    """A store as it is, but for `write`: that is for what describes the version whose manifest has this etag.

    Law: whoever published last has the last word. A write looks at the object first, at the manifest second, and replaces only
    the object it looked at; so a driver that another one overtook, and that wakes up late, replaces nothing: Conflict.
    """

    def __init__(self, storage: Storage, manifest_etag: str) -> None:
        self._storage, self._manifest_etag = storage, manifest_etag

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def write(self, path: str, data: bytes) -> None:
        while True:
            etag = self._etag(path)
            if self._etag(MANIFEST) != self._manifest_etag:
                raise Conflict(
                    f"{self._storage.url}/{path}: wanted to describe the version just published, got a later one; another driver "
                    "published meanwhile, and its version counts"
                )
            try:
                _ = self._storage.swap(path, data, etag) if etag else self._storage.create(path, data)
                return
            except Conflict:
                continue  # written meanwhile: by an overtaken driver, or by a later one, which the manifest tells

    def _etag(self, path: str) -> str:
        try:
            return self._storage.etag(path)
        except ObjectNotFound:
            return ""
