"""Large objects: a multipart upload, invisible until it is complete, and a file over ranged reads."""

from __future__ import annotations

import io
import logging
import uuid
from collections.abc import Callable
from typing import Any

from synth_ray.errors import StorageError

log = logging.getLogger(__name__)

PART_BYTES = 16 * 2**20
"""Size of an upload's parts: 10,000 of them, S3's maximum, make 160 GB."""

WRITE_ID = "synth-ray-write"
"""Metadata key for the id of the write that made an object."""


def unquoted_etag(answer: Any) -> str:
    """The etag without quotes: AWS accepts both forms in If-Match, some stores only this one."""
    return str(answer["ETag"]).strip('"')


class S3Upload:
    """See `contract.Upload`. One part is in memory; an object of less than one part is a plain PUT."""

    def __init__(self, client: Any, where: dict[str, str], call: Callable[[Callable[[int], Any]], Any]) -> None:
        self._client = client
        self._where = where
        self._call = call
        self._buffer = bytearray()
        self._sent = 0
        self._id = ""
        self._parts: list[dict[str, Any]] = []
        self._metadata = {WRITE_ID: uuid.uuid4().hex}
        self.closed = False

    def write(self, data: Any) -> int:
        if self.closed:
            raise ValueError("write to an upload that has ended")
        size = memoryview(data).nbytes
        self._buffer += data
        while len(self._buffer) >= PART_BYTES:
            self._send(bytes(self._buffer[:PART_BYTES]))
            del self._buffer[:PART_BYTES]
        return size

    def flush(self) -> None:
        """Nothing to do: a part is sent when it is full."""

    def tell(self) -> int:
        return self._sent + len(self._buffer)

    def _send(self, part: bytes) -> None:
        if not self._id:
            response = self._call(lambda _: self._client.create_multipart_upload(**self._where, Metadata=self._metadata))
            self._id = response["UploadId"]
        number = len(self._parts) + 1
        request = {**self._where, "UploadId": self._id, "PartNumber": number}
        answer = self._call(lambda _: self._client.upload_part(**request, Body=part))
        self._parts.append({"PartNumber": number, "ETag": answer["ETag"]})
        self._sent += len(part)

    def finish(self) -> None:
        self.closed = True
        rest = bytes(self._buffer)
        if not self._id:
            self._call(lambda _: self._client.put_object(**self._where, Body=rest, Metadata=self._metadata))
            return
        if rest:
            self._send(rest)
        self._call(self._complete)
        self._id = ""

    def _complete(self, attempt: int) -> None:
        request = {**self._where, "UploadId": self._id, "MultipartUpload": {"Parts": self._parts}}
        try:
            self._client.complete_multipart_upload(**request)
        except self._client.exceptions.ClientError as error:
            # The retry finds no upload if the response to the first try was lost: then the object is ours.
            if attempt == 0 or error.response["Error"]["Code"] != "NoSuchUpload" or not self._is_there():
                raise

    def _is_there(self) -> bool:
        head = self._client.head_object(**self._where)
        return bool(head["Metadata"].get(WRITE_ID) == self._metadata[WRITE_ID])

    def abort(self) -> None:
        """Discard the uploaded parts. A failure is only logged: `sweep_uploads` removes them, and the first error matters."""
        self.closed = True
        if not self._id:
            return
        try:
            self._client.abort_multipart_upload(**self._where, UploadId=self._id)
        except Exception as error:
            log.warning("%s: an unfinished upload stays until it is swept (%s)", self._where["Key"], type(error).__name__)


class RangeFile(io.RawIOBase):
    """A seekable file over ranged reads of one version of an object. Raises StorageError when the object was replaced."""

    def __init__(self, fetch: Callable[[int, int], tuple[bytes, str]], size: int, etag: str, path: str) -> None:
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
