"""Large objects of GCS and Azure: an upload in parts, invisible until it is complete."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from typing import Any

from synth_ray.errors import ObjectNotFound, StorageError
from synth_ray.storage.object_client import Client
from synth_ray.storage.part_buffer import PART_BYTES, PartBuffer
from synth_ray.storage.retry import Transient

log = logging.getLogger(__name__)

WRITE_ID = "synth_ray_write"
"""Metadata key for the id of the write that made an object. Azure allows no hyphen in it."""

_PARTS_AT_ONCE = 2


class ObjectUpload(PartBuffer):
    """See `contract.Upload`. A few parts are in memory; an object of less than one part is a plain write.

    Once an upload in parts has begun, obstore repeats its requests: it alone still has the parts. `call` repeats all others;
    `translate` makes one of our errors of one of obstore's; `written_by` reads the id of the write that made the object.
    """

    def __init__(
        self,
        client: Client,
        key: str,
        *,
        call: Callable[[Callable[[Any, Any], Any]], Any],
        translate: Callable[[Exception], Exception],
        written_by: Callable[[], str],
    ) -> None:
        super().__init__()
        self._client = client
        self._key = key
        self._call = call
        self._translate = translate
        self._written_by = written_by
        self._id = uuid.uuid4().hex
        self._writer: Any = None

    def _send(self, part: bytes) -> None:
        if self._writer is None:
            self._writer = self._call(lambda obstore, _: self._begun(obstore, part))
        else:
            self._without_retry(lambda: self._writer.write(part))
        self._sent += len(part)

    def _begun(self, obstore: Any, part: bytes) -> Any:
        """An upload in parts that the store knows. obstore does not repeat the request that begins one."""
        options = {"attributes": {WRITE_ID: self._id}, "buffer_size": PART_BYTES, "max_concurrency": _PARTS_AT_ONCE}
        writer = obstore.open_writer(self._client.uploads, self._key, **options)
        writer.write(part)
        writer.flush()
        return writer

    def _without_retry(self, act: Callable[[], Any]) -> None:
        try:
            act()
        except Exception as error:
            raise self._final(error) from None

    def finish(self) -> None:
        self.closed = True
        rest = bytes(self._buffer)
        if self._writer is None:
            options = {"attributes": {WRITE_ID: self._id}, "use_multipart": False}
            self._call(lambda obstore, bucket: obstore.put(bucket, self._key, rest, **options))
            return
        if rest:
            self._without_retry(lambda: self._writer.write(rest))
        try:
            self._writer.close()
        except Exception as error:
            # A repeated request finds no upload if the answer to the first was lost: then the object is ours.
            if not self._is_there():
                raise self._final(error) from None

    def _is_there(self) -> bool:
        try:
            return self._written_by() == self._id
        except StorageError:
            return False

    def _final(self, error: Exception) -> Exception:
        ours = self._translate(error)
        if isinstance(ours, ObjectNotFound):
            return StorageError(f"{self._key}: wanted the upload begun before, got none; run the same command again")
        if isinstance(ours, Transient):
            return StorageError(
                f"{self._key}: wanted to upload a part, got failed tries alone, the last: {ours}; "
                "see that the store is up and not throttled, then run the same command again"
            )
        return ours

    def abort(self, error: BaseException) -> None:
        """Discard the uploaded parts. A failure is only logged: the store removes them in time, and the first error matters."""
        self.closed = True
        if self._writer is None:
            return
        try:
            self._writer.__exit__(type(error), error, None)
        except Exception as failure:
            log.warning("%s: an unfinished upload stays until the store removes it (%s)", self._key, type(failure).__name__)
