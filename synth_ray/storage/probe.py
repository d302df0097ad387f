"""Tries whether a store enforces conditional writes."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from synth_ray.errors import Conflict, StorageError
from synth_ray.storage.contract import Storage

_NO_VERSION = "0" * 32  # the etag of no object


class Unsupported(StorageError):
    """The store does not support this request."""


def enforces_conditions(store: Storage) -> bool:
    """Whether `create` and `swap` hold, tried on an object of its own, which is removed after."""
    path = f"_probe-{uuid.uuid4().hex}"
    try:
        etag = store.create(path, b"1")
        if not _is_refused(lambda: store.create(path, b"2")) or not _is_refused(lambda: store.swap(path, b"3", _NO_VERSION)):
            return False
        newer = store.swap(path, b"4", etag)
        return newer != etag and _is_refused(lambda: store.swap(path, b"5", etag))
    except (Conflict, Unsupported):
        return False  # the store refuses a condition that holds, or all conditions
    finally:
        store.delete(path)


def _is_refused(write: Callable[[], Any]) -> bool:
    try:
        write()
    except Conflict:
        return True
    return False
