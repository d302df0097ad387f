"""Large objects: a multipart upload, invisible until it is complete."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from typing import Any

from synth_ray.storage.part_buffer import PartBuffer

log = logging.getLogger(__name__)

WRITE_ID = "synth-ray-write"
"""Metadata key for the id of the write that made an object."""


def unquoted_etag(answer: Any) -> str:
    """The etag without quotes: AWS accepts both forms in If-Match, some stores only this one."""
    return str(answer["ETag"]).strip('"')


class S3Upload(PartBuffer):
    """See `contract.Upload`. One part is in memory; an object of less than one part is a plain PUT."""

    def __init__(self, client: Any, where: dict[str, str], call: Callable[[Callable[[int], Any]], Any]) -> None:
        super().__init__()
        self._client = client
        self._where = where
        self._call = call
        self._id = ""
        self._parts: list[dict[str, Any]] = []
        self._metadata = {WRITE_ID: uuid.uuid4().hex}

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
