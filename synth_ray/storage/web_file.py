"""A file at an http(s) address, downloaded to a temporary file: readers seek, and a connection does not last as long as a run."""

from __future__ import annotations

import tempfile
from typing import BinaryIO, cast
from urllib.parse import urlsplit

import httpx

from synth_ray.errors import JobError, StorageError
from synth_ray.storage.retry import Retry, Transient

_TIMEOUT_S = 30.0
_RETRY = Retry(budget_s=30.0)
_BUSY = {408, 425, 429}
_MOVES = {
    401: "it wants credentials, which never go into an address; download it and name the copy",
    403: "you may not read it, or a signed address has run out",
    404: "correct the address",
    410: "correct the address",
}


def validate_web_address(url: str) -> str:
    """The address, if it has a host and no password. Raises JobError."""
    parts = urlsplit(url)
    if not parts.hostname or "@" in parts.netloc:
        raise JobError(
            "wanted https://host/path of one file, got another form; credentials never go into an address: download the file "
            "and name the copy"
        )
    return url


def open_web_file(url: str) -> BinaryIO:
    """The file's content as of now, seekable. Raises JobError with the address, without its query, and the next move."""
    name = urlsplit(url)._replace(query="", fragment="").geturl()
    file = tempfile.TemporaryFile()  # noqa: SIM115  (its reader closes it)
    try:
        _RETRY.call(lambda _: _download(url, name, cast(BinaryIO, file)), name=name)
    except StorageError as error:
        file.close()
        raise JobError(str(error)) from None
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return cast(BinaryIO, file)


def _download(url: str, name: str, file: BinaryIO) -> None:
    file.seek(0)
    file.truncate()
    headers = {"Accept-Encoding": "identity"}  # the file as it is stored
    try:
        with httpx.stream("GET", url, headers=headers, follow_redirects=True, timeout=_TIMEOUT_S) as response:
            _require_success(response.status_code, name)
            for block in response.iter_bytes():
                file.write(block)
    except (httpx.ReadError, httpx.RemoteProtocolError, httpx.TimeoutException) as error:
        raise Transient(type(error).__name__) from None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError) as error:  # ValueError: a proxy's address
        raise JobError(
            f"{name}: wanted to download it, got {type(error).__name__}; see that this machine is online and the address "
            "right (HTTPS_PROXY and SSL_CERT_FILE, too, if set), or download the file elsewhere and name the copy"
        ) from None


def _require_success(status: int, name: str) -> None:
    if status in _BUSY or status >= 500:
        raise Transient(f"HTTP {status}")
    if status != 200:
        raise JobError(f"{name}: wanted to download it, got HTTP {status}; {_MOVES.get(status, 'see the address in a browser')}")
