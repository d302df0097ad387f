"""An S3 server that enforces a policy as AWS does, in front of one that does not: actions, resources, conditions on prefixes."""

from __future__ import annotations

import fnmatch
import http.client
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.servers import answering

_DENIED = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


@dataclass(frozen=True)
class Access:
    """What a request wants to do. `prefix` is the value of `s3:prefix`; None where the request has none."""

    action: str
    resource: str
    prefix: str | None = None


@dataclass
class Enforced:
    """The server. `used` are the actions of the policy that were allowed, `denied` what was not."""

    url: str = ""
    used: set[str] = field(default_factory=set)
    denied: list[Access] = field(default_factory=list)


def is_allowed(policy: Mapping[str, Any], access: Access) -> bool:
    """A denial wins over everything; what nothing allows is denied. Raises for a condition that is not known here."""
    effects = {s["Effect"] for s in policy["Statement"] if _concerns(s, access)}
    return effects == {"Allow"}


def _concerns(statement: Mapping[str, Any], access: Access) -> bool:
    return (
        _matches(statement["Action"], access.action)
        and _matches(statement["Resource"], access.resource)
        and all(_holds(operator, keys, access) for operator, keys in statement.get("Condition", {}).items())
    )


def _holds(operator: str, keys: Mapping[str, Any], access: Access) -> bool:
    if operator != "StringLike" or set(keys) != {"s3:prefix"}:
        raise NotImplementedError(f"{operator} on {', '.join(keys)}")
    return access.prefix is not None and _matches(keys["s3:prefix"], access.prefix)


def _matches(patterns: str | list[str], value: str) -> bool:
    every = [patterns] if isinstance(patterns, str) else patterns
    return any(fnmatch.fnmatchcase(value, pattern.replace("[", "[[]")) for pattern in every)


def accesses(method: str, address: str, body: bytes) -> list[Access]:
    """What a path-style request of S3's API needs. A listing without a prefix has the empty one."""
    path, query = urlsplit(address).path, parse_qs(urlsplit(address).query, keep_blank_values=True)
    bucket, _, key = unquote(path).lstrip("/").partition("/")
    of_bucket, of_key = f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/{key}"
    prefix = query.get("prefix", [""])[0]
    if key:
        by_method = {
            "GET": "s3:ListMultipartUploadParts" if "uploadId" in query else "s3:GetObject",
            "HEAD": "s3:GetObject",
            "PUT": "s3:PutObject",
            "POST": "s3:PutObject",
            "DELETE": "s3:AbortMultipartUpload" if "uploadId" in query else "s3:DeleteObject",
        }
        return [Access(by_method[method], of_key)]
    if method == "POST" and "delete" in query:
        return [Access("s3:DeleteObject", f"{of_bucket}/{name}") for name in re.findall(r"<Key>(.*?)</Key>", body.decode())]
    if method == "GET" and "uploads" in query:
        return [Access("s3:ListBucketMultipartUploads", of_bucket, prefix)]
    if method in ("GET", "HEAD") and bucket:
        return [Access("s3:ListBucket", of_bucket, prefix)]
    return [Access(f"s3:{method.title()}Bucket", of_bucket)]


@contextmanager
def enforcing(policy: Mapping[str, Any], server: str) -> Iterator[Enforced]:
    """Serve S3 for the block: what the policy allows goes to `server`, everything else is answered with 403.

    As on AWS, whoever may not list a missing key's place is told 403 instead of 404; `s3:prefix` is then the key.
    """
    enforced = Enforced()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            wanted = accesses(self.command, self.path, body)
            if refused := [access for access in wanted if not is_allowed(policy, access)]:
                enforced.denied.extend(refused)
                self._answer(403, {}, _DENIED)
                return
            enforced.used.update(access.action for access in wanted)
            status, headers, answer = self._forward(body)
            if status == 404 and not self._may_know(wanted[0]):
                status, answer = 403, _DENIED
            self._answer(status, headers, answer)

        def _may_know(self, access: Access) -> bool:
            bucket, _, key = access.resource.removeprefix("arn:aws:s3:::").partition("/")
            return not key or is_allowed(policy, Access("s3:ListBucket", f"arn:aws:s3:::{bucket}", key))

        def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            connection = http.client.HTTPConnection(urlsplit(server).netloc, timeout=60)
            sent = {name: value for name, value in self.headers.items() if name.lower() not in ("connection", "expect")}
            connection.request(self.command, self.path, body, sent)
            response = connection.getresponse()
            answer, length = response.read(), response.getheader("Content-Length", "0")
            connection.close()
            kept = {
                n: v for n, v in response.getheaders() if n.lower() not in ("connection", "transfer-encoding", "content-length")
            }
            return response.status, kept | ({"Content-Length": length} if self.command == "HEAD" else {}), answer

        def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in ({"Content-Length": "0" if self.command == "HEAD" else str(len(body))} | dict(headers)).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve

        def log_message(self, *_: Any) -> None:
            pass

    with answering(Handler) as enforced.url:
        yield enforced
