"""Objects in an S3 bucket, under a prefix.

boto3 makes every request, reads included. pyarrow's output stream would publish an incomplete object when a write fails; and one
client means one credential chain, one retry policy and one place where secrets are removed from errors.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from synth_ray.errors import Conflict, ObjectNotFound, StorageError
from synth_ray.storage.contract import Entry, validate_path, validate_prefix
from synth_ray.storage.probe import enforces_conditions
from synth_ray.storage.range_file import RangeFile, buffered_input
from synth_ray.storage.retry import Retry, Transient
from synth_ray.storage.s3_errors import Denied, PastTheEnd, lacks_bulk_deletes, translate_error, truncated_read
from synth_ray.storage.s3_stream import WRITE_ID, S3Upload, unquoted_etag

log = logging.getLogger(__name__)

T = TypeVar("T")

_DELETED_TOGETHER = 1000
"""The most keys of one DeleteObjects."""


class S3Storage:
    """See `contract.Storage`. Conditions are `If-None-Match: *` and `If-Match`; with `enforced=False`, a check before the write.

    A write whose response was lost is retried, and the retry may meet the object of the first try. Each write therefore puts an
    id of its own into the object's metadata, by which a writer recognises its own object.
    """

    def __init__(
        self, bucket: str, prefix: str, *, client: Any, retry: Retry, enforced: bool = True, page_keys: int = 1000
    ) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._client = client
        self._retry = retry
        self._enforced = enforced
        self._page_keys = page_keys
        self.url = f"s3://{bucket}/{prefix}" if prefix else f"s3://{bucket}"

    def _where(self, path: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + validate_path(path)}

    def _call(self, path: str, act: Callable[[int], T]) -> T:
        name = f"{self.url}/{path}" if path else self.url

        def cleaned_act(attempt: int) -> T:
            try:
                return act(attempt)
            except (Transient, StorageError):
                raise
            except Exception as error:
                raise translate_error(error, name) from None

        return self._retry.call(cleaned_act, name=name)

    def read(self, path: str) -> bytes:
        return self.read_with_etag(path)[0]

    def read_with_etag(self, path: str) -> tuple[bytes, str]:
        where = self._where(path)

        def act(_: int) -> tuple[bytes, str]:
            answer = self._client.get_object(**where)
            return _body(answer), unquoted_etag(answer)

        return self._call(path, act)

    def read_range(self, path: str, start: int, length: int) -> bytes:
        return self._range(path, start, length)[0]

    def _range(self, path: str, start: int, length: int) -> tuple[bytes, str]:
        where = self._where(path)

        def act(_: int) -> tuple[bytes, str]:
            answer = self._client.get_object(**where, Range=f"bytes={start}-{start + length - 1}")
            return _body(answer), unquoted_etag(answer)

        try:
            return self._call(path, act) if length > 0 else (b"", "")
        except PastTheEnd:
            return b"", ""

    def open_input(self, path: str) -> Any:
        head = self._head(path)
        raw = RangeFile(lambda start, length: self._range(path, start, length), head["ContentLength"], unquoted_etag(head), path)
        return buffered_input(raw)

    def write(self, path: str, data: bytes) -> None:
        self._put(path, data, {}, uuid.uuid4().hex)

    def create(self, path: str, data: bytes) -> str:
        if not self._enforced and self.exists(path):
            raise self._conflict(path, "to create it, got one that is there")
        return self._conditional_put(path, data, {"IfNoneMatch": "*"}, "to create it, got one that is there")

    def swap(self, path: str, data: bytes, etag: str) -> str:
        if not self._enforced:
            head = self._head_or_none(path)
            if head is None or unquoted_etag(head) != etag:
                raise self._conflict(path, "the version read before, got another")
        return self._conditional_put(path, data, {"IfMatch": etag}, "the version read before, got another")

    def _conditional_put(self, path: str, data: bytes, condition: dict[str, str], wanted: str) -> str:
        write_id = uuid.uuid4().hex
        try:
            return self._put(path, data, condition if self._enforced else {}, write_id)
        except (Conflict, ObjectNotFound):
            head = self._head_or_none(path)
            if head is not None and head["Metadata"].get(WRITE_ID) == write_id:
                return unquoted_etag(head)
            raise self._conflict(path, wanted) from None

    def _put(self, path: str, data: bytes, condition: dict[str, str], write_id: str) -> str:
        where = self._where(path)
        metadata = {WRITE_ID: write_id}
        return self._call(
            path, lambda _: unquoted_etag(self._client.put_object(**where, Body=data, Metadata=metadata, **condition))
        )

    def _conflict(self, path: str, wanted: str) -> Conflict:
        return Conflict(f"{self.url}/{path}: wanted {wanted}; another writer won")

    def _head(self, path: str) -> Any:
        where = self._where(path)
        return self._call(path, lambda _: self._client.head_object(**where))

    def _head_or_none(self, path: str) -> Any:
        try:
            return self._head(path)
        except ObjectNotFound:
            return None

    def etag(self, path: str) -> str:
        return unquoted_etag(self._head(path))

    def exists(self, path: str) -> bool:
        return self._head_or_none(path) is not None

    def delete(self, path: str) -> None:
        where = self._where(path)
        self._call(path, lambda _: self._client.delete_object(**where))

    def delete_many(self, paths: Iterable[str]) -> None:
        keys = iter([self._prefix + validate_path(path) for path in paths])
        while batch := list(islice(keys, _DELETED_TOGETHER)):
            self._call("", lambda _, left=batch: self._delete_batch(left))  # type: ignore[misc]

    def _delete_batch(self, left: list[str]) -> None:
        """Delete the keys, and leave in `left` those that were refused. Raises the error of the first of them."""
        try:
            answer = self._client.delete_objects(
                Bucket=self._bucket, Delete={"Objects": [{"Key": k} for k in left], "Quiet": True}
            )
        except ClientError as error:
            if not lacks_bulk_deletes(error):
                raise
            for key in left:  # deletes it one by one alone
                self._client.delete_object(Bucket=self._bucket, Key=key)
            return
        refused = [own for own in answer.get("Errors", ()) if own.get("Code") != "NoSuchKey"]
        if refused:
            left[:] = [own["Key"] for own in refused]
            raise ClientError({"Error": {"Code": refused[0].get("Code", "")}}, "DeleteObjects")

    def list(self, prefix: str = "") -> Iterator[Entry]:
        where = {"Bucket": self._bucket, "Prefix": self._prefix + validate_prefix(prefix)}
        request = {**where, "MaxKeys": self._page_keys}
        after: dict[str, str] = {}
        while True:
            page = self._page({**request, **after}, prefix)
            for entry in page.get("Contents", ()):
                path = entry["Key"][len(self._prefix) :]
                yield Entry(path, entry["Size"], entry["LastModified"].timestamp())
            if not page.get("IsTruncated"):
                return
            after = {"ContinuationToken": page["NextContinuationToken"]}

    def _page(self, request: dict[str, Any], prefix: str) -> Any:
        return self._call(prefix, lambda _: self._client.list_objects_v2(**request))

    @contextmanager
    def upload(self, path: str) -> Iterator[S3Upload]:
        upload = S3Upload(self._client, self._where(path), lambda act: self._call(path, act))
        try:
            yield upload
            upload.finish()
        except BaseException:
            upload.abort()
            raise

    def sweep_uploads(self, *, older_than_s: float) -> int:
        oldest = time.time() - older_than_s
        pages = self._client.get_paginator("list_multipart_uploads")
        try:
            uploads = self._call("", lambda _: list(pages.paginate(Bucket=self._bucket, Prefix=self._prefix)))
        except Denied:
            log.warning(
                "%s: the policy does not allow s3:ListBucketMultipartUploads, so that parts of uploads of killed runs stay "
                "there and are paid for; allow it, or let a lifecycle rule of the bucket abort incomplete uploads",
                self.url,
            )
            return 0
        stale = [u for page in uploads for u in page.get("Uploads", ()) if u["Initiated"].timestamp() <= oldest]
        for upload in stale:
            self._sweep(upload["Key"], upload["UploadId"])
        return len(stale)

    def _sweep(self, key: str, upload_id: str) -> None:
        path = key[len(self._prefix) :]
        abort = self._client.abort_multipart_upload
        self._call(path, lambda _: abort(Bucket=self._bucket, Key=key, UploadId=upload_id))

    def probe_conditional(self) -> bool:
        return enforces_conditions(S3Storage(self._bucket, self._prefix[:-1], client=self._client, retry=self._retry))


def _body(answer: Any) -> bytes:
    """The whole body. Raises Transient when it is shorter than its Content-Length."""
    with answer["Body"] as body:
        data: bytes = body.read()
    if len(data) != answer["ContentLength"]:
        raise truncated_read(len(data), answer["ContentLength"])
    return data
