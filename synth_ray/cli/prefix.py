"""The output that a command's prefix names: refused where there is none, for then there is nothing to tell."""

from __future__ import annotations

from synth_ray.dataset.ledger import ROOT
from synth_ray.dataset.manifest import PATH as MANIFEST
from synth_ray.errors import JobError, StorageError
from synth_ray.storage import Storage, open_storage


def require_output(prefix: str, *, published: bool) -> None:
    """Raises JobError where no run has written, where nothing is published although `published` says it must be, or where the
    store refuses to tell.
    """
    try:
        storage = open_storage(prefix)
        if storage.exists(MANIFEST):
            return
        begun = _has_begun(storage)
    except StorageError as error:
        raise JobError(str(error)) from None
    if not begun:
        raise JobError(f"{prefix}: wanted the output of a run, got a place where none has written; check the path")
    if published:
        raise JobError(
            f"{prefix}: wanted a published dataset, got a run that has not published yet; run its job again, or see "
            f"`synth-ray status {prefix}`"
        )


def _has_begun(storage: Storage) -> bool:
    return next(iter(storage.list(ROOT)), None) is not None
