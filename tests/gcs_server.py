"""A small server of the part of GCS's XML API that obstore speaks, with conditions on generations enforced."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from hashlib import md5
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

PAGE_KEYS = 5
_META = "x-goog-meta-"


@dataclass(frozen=True, slots=True)
class Stored:
    data: bytes
    generation: int
    metadata: dict[str, str]
    when: datetime

    @property
    def etag(self) -> str:
        return f'"{md5(self.data, usedforsecurity=False).hexdigest()}"'


@dataclass(slots=True)
class Gcs:
    """Buckets, and multipart uploads that are not complete."""

    buckets: dict[str, dict[str, Stored]] = field(default_factory=dict)
    uploads: dict[str, tuple[dict[str, str], dict[int, bytes]]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1_700_000_000_000_000))

    def put(self, bucket: str, key: str, data: bytes, metadata: dict[str, str], generation: str | None = None) -> Stored | None:
        """None where the condition does not hold: `generation` is that of the object to replace, 0 of none."""
        with self.lock:
            objects = self.buckets[bucket]
            there = objects[key].generation if key in objects else 0
            if generation is not None and int(generation) != there:
                return None
            objects[key] = Stored(data, next(self.numbers), metadata, datetime.now(UTC))
            return objects[key]


def handler_of(gcs: Gcs) -> type[BaseHTTPRequestHandler]:
    return type("Handler", (_Handler,), {"gcs": gcs})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    gcs: Gcs

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        address = urlsplit(self.path)
        bucket, _, key = (unquote(name) for name in address.path.lstrip("/").partition("/"))
        query = {name: values[0] for name, values in parse_qs(address.query, keep_blank_values=True).items()}
        if bucket not in self.gcs.buckets:
            return self._refuse(404, "NoSuchBucket")
        acts: dict[str, Callable[[str, str, dict[str, str], bytes], None]] = {
            "GET": self._get if key else self._list,
            "HEAD": self._get,
            "PUT": self._put,
            "POST": self._upload,
            "DELETE": self._delete,
        }
        return acts[self.command](bucket, key, query, body)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _handle

    def _put(self, bucket: str, key: str, query: dict[str, str], body: bytes) -> None:
        if "uploadId" in query:
            if query["uploadId"] not in self.gcs.uploads:
                return self._refuse(404, "NoSuchUpload")
            self.gcs.uploads[query["uploadId"]][1][int(query["partNumber"])] = body
            return self._answer(200, b"", {"ETag": f'"{md5(body, usedforsecurity=False).hexdigest()}"'})
        stored = self.gcs.put(bucket, key, body, self._metadata(), self.headers.get("x-goog-if-generation-match"))
        return self._refuse(412, "PreconditionFailed") if stored is None else self._answer(200, b"", _headers(stored))

    def _metadata(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.headers.items() if name.lower().startswith(_META)}

    def _upload(self, bucket: str, key: str, query: dict[str, str], body: bytes) -> None:
        if "uploads" in query:
            upload_id = f"upload-{next(self.gcs.numbers)}"
            self.gcs.uploads[upload_id] = (self._metadata(), {})
            found = f"<Bucket>{bucket}</Bucket><Key>{escape(key)}</Key><UploadId>{upload_id}</UploadId>"
            return self._answer(200, f"<InitiateMultipartUploadResult>{found}</InitiateMultipartUploadResult>".encode())
        if query.get("uploadId") not in self.gcs.uploads:
            return self._refuse(404, "NoSuchUpload")
        metadata, parts = self.gcs.uploads.pop(query["uploadId"])
        numbers = [int(number) for number in re.findall(rb"<PartNumber>(\d+)</PartNumber>", body)]
        stored = self.gcs.put(bucket, key, b"".join(parts[number] for number in numbers), metadata)
        assert stored is not None
        text = f"<CompleteMultipartUploadResult><ETag>{escape(stored.etag)}</ETag></CompleteMultipartUploadResult>"
        return self._answer(200, text.encode(), _headers(stored))

    def _delete(self, bucket: str, key: str, query: dict[str, str], body: bytes) -> None:
        found = self.gcs.uploads if "uploadId" in query else self.gcs.buckets[bucket]
        with self.gcs.lock:
            gone = found.pop(query.get("uploadId", key), None)  # type: ignore[attr-defined]
        return self._answer(204, b"") if gone is not None else self._refuse(404, "NoSuchKey")

    def _get(self, bucket: str, key: str, query: dict[str, str], body: bytes) -> None:
        stored = self.gcs.buckets[bucket].get(key)
        if stored is None:
            return self._refuse(404, "NoSuchKey")
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if not wanted:
            return self._answer(200, stored.data, _headers(stored))
        first, last = int(wanted[1]), min(int(wanted[2]), len(stored.data) - 1)
        if first >= len(stored.data):
            return self._refuse(416, "InvalidRange")
        place = {"Content-Range": f"bytes {first}-{last}/{len(stored.data)}"}
        return self._answer(206, stored.data[first : last + 1], _headers(stored) | place)

    def _list(self, bucket: str, key: str, query: dict[str, str], body: bytes) -> None:
        prefix, after = query.get("prefix", ""), query.get("continuation-token", query.get("start-after", ""))
        objects = sorted(self.gcs.buckets[bucket].items(), key=lambda item: item[0].encode())
        rest = [item for item in objects if item[0].startswith(prefix) and item[0].encode() > after.encode()]
        page = rest[:PAGE_KEYS]
        entries = "".join(
            f"<Contents><Key>{escape(name)}</Key><Size>{len(stored.data)}</Size><ETag>{escape(stored.etag)}</ETag>"
            f"<LastModified>{stored.when:%Y-%m-%dT%H:%M:%S.%fZ}</LastModified></Contents>"
            for name, stored in page
        )
        more = f"<NextContinuationToken>{escape(page[-1][0])}</NextContinuationToken>" if len(rest) > len(page) else ""
        is_cut = f"<IsTruncated>{str(bool(more)).lower()}</IsTruncated>"
        self._answer(200, f"<ListBucketResult><Name>{bucket}</Name>{is_cut}{more}{entries}</ListBucketResult>".encode())

    def _refuse(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode())

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Silent."""


def _headers(stored: Stored) -> dict[str, str]:
    when = format_datetime(stored.when, usegmt=True)
    return {"ETag": stored.etag, "x-goog-generation": str(stored.generation), "Last-Modified": when} | stored.metadata
