"""Calls of a provider's HTTP API, repeated until they are answered, and result files, fetched until they are whole."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from synth_ray.ask.batches.errors import errors_in, meaning_of
from synth_ray.ask.batches.results import Line
from synth_ray.ask.server_text import json_in, wait_in
from synth_ray.errors import EngineDied, ServiceRefused
from synth_ray.job.served import BatchApi

log = logging.getLogger(__name__)

_WAIT_S, _MAX_WAIT_S = 0.5, 60.0
_DOWNLOADS = 12
_UNKNOWN_TIMES = 3
_SAME_TIMES = 4
UNKNOWN = (400, 404, 410)
"""Statuses by which a provider says that it does not know what a path names."""


@dataclass(frozen=True, slots=True)
class TryLater:
    """A failure that may pass. `code` is the provider's word where it was asked for too much at once, and empty where it failed
    or was out of reach; it wants to be left alone for `wait_s`. `replied`: it is alive.
    """

    code: str = ""
    wait_s: float = 0.0
    replied: bool = False

    @property
    def is_refusal(self) -> bool:
        """Whether the call surely did nothing: otherwise it may have been carried out, and only its reply be lost."""
        return bool(self.code)


class Patience:
    """Pauses of one call, which grow. What the provider asks for is waited, and told; without any reply, the provider is dead."""

    def __init__(self, section: BatchApi) -> None:
        self._dead_after_s = section.dead_after_s
        self._first_s = min(_WAIT_S, section.poll_s)
        self._poll_s = section.poll_s
        self._tried = 0
        self._last_reply = time.monotonic()

    async def pause(self, failure: TryLater) -> None:
        if failure.replied:
            self._last_reply = time.monotonic()
        elif time.monotonic() - self._last_reply > self._dead_after_s:
            raise EngineDied(f"models.batch: wanted a reply, got none in {self._dead_after_s:g} s")
        growing = min(_MAX_WAIT_S, self._first_s * 2 ** min(self._tried, 9)) * (0.5 + random.random())
        seconds = max(failure.wait_s, growing)
        self._tried += 1
        if failure.code:
            log.warning("models.batch: the provider takes no more at present (%s): waiting %.1f s", failure.code, seconds)
        await asyncio.sleep(seconds)

    async def pause_unknown(self) -> None:
        """The provider said that it does not know something; by its own pace it may know it the next time."""
        await self.pause(TryLater(wait_s=self._poll_s, replied=True))


class Calls:
    """Law: a call is repeated until it is answered; a refused key, account or model raises ServiceRefused, no reply for
    `dead_after_s` EngineDied.
    """

    def __init__(self, section: BatchApi, url: str, headers: Mapping[str, str], *, follow_redirects: bool = False) -> None:
        """Redirects are followed only where the key's header is one that httpx does not send to another host."""
        self._section = section
        self._client = httpx.AsyncClient(
            base_url=url, headers=dict(headers), timeout=section.timeout_s, follow_redirects=follow_redirects
        )

    @property
    def poll_s(self) -> float:
        return self._section.poll_s

    def patience(self) -> Patience:
        return Patience(self._section)

    async def call(self, method: str, path: str, *, plain: bool = False, unknown: Collection[int] = (), **options: Any) -> Any:
        """The reply's object, or the whole reply if `plain`; None for a status among `unknown`, by which the provider says that
        it does not know what `path` names.
        """
        patience = self.patience()
        while True:
            reply = await self.try_call(method, path, plain=plain, unknown=unknown, **options)
            if not isinstance(reply, TryLater):
                return reply
            await patience.pause(reply)

    async def try_call(
        self, method: str, path: str, *, plain: bool = False, unknown: Collection[int] = (), **options: Any
    ) -> Any:
        """One try of `call`: TryLater where another may do better."""
        try:
            reply = await self._client.request(method, path, **options)
        except httpx.HTTPError:
            return TryLater()
        if reply.status_code in unknown:
            return None
        if reply.status_code >= 300:
            return _failure(method, path, reply)
        if plain:
            return reply
        value = json_in(reply.content)
        return value if isinstance(value, dict) else TryLater()

    async def first_line(self, path: str) -> bytes | None:
        """The first whole line of a file of JSON lines, without the rest of it. None where the provider said several times, at
        the pace of `poll_s`, that there is no such file, or gave it again and again without such a line.
        """
        patience, said = self.patience(), Counter[bytes | None]()
        while True:
            line = await self._try_first_line(path)
            if isinstance(line, TryLater):
                await patience.pause(line)
                continue
            if line:
                return line
            said[line] += 1
            if said[None] == _UNKNOWN_TIMES or said[b""] == _DOWNLOADS:
                return None
            await (patience.pause_unknown() if line is None else patience.pause(TryLater(replied=True)))

    async def _try_first_line(self, path: str) -> bytes | TryLater | None:
        """One try of `first_line`; None for a status of UNKNOWN, and nothing for a file without a whole line."""
        try:
            async with self._client.stream("GET", path) as reply:
                if reply.status_code in UNKNOWN:
                    return None
                if reply.status_code >= 300:
                    await reply.aread()
                    return _failure("GET", path, reply)
                async for line in reply.aiter_lines():
                    if json_in(line) is not None:
                        return line.encode()
                return b""
        except httpx.HTTPError:
            return TryLater()

    async def uploaded(self, upload: Callable[[], Awaitable[str | TryLater]]) -> str:
        """Repeat an upload, which costs nothing, until it returns the file's name. Raises ServiceRefused where the provider
        takes it again and again without a name, for which `upload` returns an empty one.
        """
        patience, nameless = self.patience(), 0
        while True:
            name = await upload()
            if name and isinstance(name, str):
                return name
            nameless += name == ""
            if nameless == _SAME_TIMES:
                raise ServiceRefused(
                    "models.batch.url: wanted the name of an uploaded file, got replies without one; check that url is the base "
                    "URL of the provider's API"
                )
            await patience.pause(name if isinstance(name, TryLater) else TryLater(replied=True))


async def whole_lines(
    fetch: Callable[[], Awaitable[bytes | None]],
    lines_in: Callable[[bytes], list[Line | None]],
    patience: Patience,
    *,
    size: int | None = None,
    lines: int = 0,
) -> list[Line] | None:
    """The lines of a result file; None for a file that is gone. A torn download is repeated: its answers are paid for.

    A file is whole if it has `size` bytes, or where that is not told so many `lines`, and no line is torn. What comes again and
    again in the same bytes is torn itself, not its download.
    """
    seen: Counter[bytes] = Counter()
    found: list[Line | None] = []
    unknown = 0
    for _ in range(_DOWNLOADS):
        data = await fetch()
        if data is None:
            unknown += 1
            if unknown == _UNKNOWN_TIMES:
                return None
            await patience.pause_unknown()
        else:
            found = lines_in(data)
            is_long = len(data) == size if size else len(found) >= lines
            mark = hashlib.blake2b(data).digest()
            seen[mark] += 1
            if (is_long and (None not in found or seen[mark] > 1)) or (not size and seen[mark] == _SAME_TIMES):
                break
            await patience.pause(TryLater(replied=True))
    return [line for line in found if line is not None]


def _failure(method: str, path: str, reply: httpx.Response) -> TryLater:
    """What a status says. Raises ServiceRefused for one that no later call mends."""
    status, errors = reply.status_code, errors_in(json_in(reply.content))
    code = next((error.code for error in errors if error.code), "")
    is_unpaid = status == 402 or any(error.is_unpaid for error in errors)
    no_room = status == 429 or (status == 400 and bool(errors) and meaning_of(errors) == "wait")
    if no_room and not is_unpaid:
        return TryLater(code or f"HTTP {status}", wait_in(reply.headers, ""), replied=True)
    if not is_unpaid and (status in (408, 409, 425) or status >= 500):
        return TryLater(wait_s=wait_in(reply.headers, ""))
    what = urlsplit(path).path.split("/")[1]
    raise ServiceRefused(
        f"models.batch: wanted {method} /{what} to be taken, got HTTP {status}{f', {code}' if code else ''}; "
        "check url, key_env and model, and the account"
    )
