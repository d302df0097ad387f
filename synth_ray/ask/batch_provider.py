"""A provider's batch endpoints: files uploaded and downloaded, batches created, listed and polled."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx

from synth_ray.ask.batch_errors import errors_in, meaning_of
from synth_ray.ask.batch_results import Line, lines_in
from synth_ray.ask.openai_protocol import headers_of, path_of
from synth_ray.ask.server_text import json_in, wait_in
from synth_ray.errors import EngineDied, ServiceRefused
from synth_ray.job.models import Model

log = logging.getLogger(__name__)

ENDED = ("completed", "failed", "expired", "cancelled")
NOT_BEGUN = ("validating", "failed")
METADATA_KEY = "synth_ray"
"""Metadata key under which a batch carries the name of its record."""

_WAIT_S, _MAX_WAIT_S = 0.5, 60.0
_PAGE = 100
_DOWNLOADS = 12
_LOOKS = 3
_UNKNOWN_STATUSES = (400, 404, 410)


@dataclass(frozen=True, slots=True)
class TryLater:
    """A failure that may pass. `code` is the provider's word where it was asked for too much at once, and empty where it failed
    or was out of reach; it wants to be left alone for `wait_s`. `replied`: it is alive.
    """

    code: str = ""
    wait_s: float = 0.0
    replied: bool = False


class BatchProvider:
    """Law: a call is repeated until it is answered; a refused key, account or model raises ServiceRefused, no reply for
    `dead_after_s` EngineDied. Creating a batch is never simply repeated: the reply may be lost although the batch exists.
    """

    def __init__(self, model: Model) -> None:
        assert model.batch is not None
        self._model, self._section = model, model.batch
        self._client = httpx.AsyncClient(
            base_url=model.batch.url,
            headers=headers_of("batch", model.batch.key_env),
            timeout=model.batch.timeout_s,
            follow_redirects=True,
        )

    async def create(self, name: str, lines: bytes) -> str:
        """Upload the requests and create their batch; returns its id."""
        file = await self._call("POST", "/files", files={"file": (f"{name}.jsonl", lines)}, data={"purpose": "batch"})
        body = {
            "input_file_id": file["id"],
            "endpoint": f"/v1/{path_of(self._model)}",
            "completion_window": f"{self._section.window_hours}h",
            "metadata": {METADATA_KEY: name},
        }
        patience = _Patience(self._section.dead_after_s, self._section.poll_s)
        while True:
            created = await self._try_call("POST", "/batches", json=body)
            if not isinstance(created, TryLater):
                if created.get("id"):
                    return str(created["id"])
                created = TryLater()
            await patience.pause(created)
            # Without a reply the batch may exist all the same: look for it before creating another.
            if not created.code and (existing := await self.find(name)):
                return existing

    async def find(self, name: str) -> str:
        """The id of the batch that carries this name; empty if there is none."""
        async for batch in self._list_batches():
            if (batch.get("metadata") or {}).get(METADATA_KEY) == name:
                return str(batch["id"])
        return ""

    async def _list_batches(self) -> AsyncIterator[dict[str, Any]]:
        after = ""
        while True:
            page = await self._call("GET", "/batches", params={"limit": _PAGE} | ({"after": after} if after else {}))
            batches = page.get("data") or []
            for batch in batches:
                yield batch
            if not page.get("has_more") or not batches or batches[-1]["id"] == after:
                return
            after = batches[-1]["id"]

    async def wait_until_ended(self, batch: str, name: str, on_begun: Callable[[], None]) -> dict[str, Any] | None:
        """Poll until the batch has ended; returns its status, or None for a batch that the provider does not know any more.

        It must say so several times, and not list the batch under its name: what was just made may not be everywhere at once.
        """
        pause, unknown = self._section.poll_s, 0
        while unknown < _LOOKS:
            status = await self._call("GET", f"/batches/{batch}", may_be_unknown=True)
            if status is None:
                unknown += 1
                batch = await self.find(name) or batch
            else:
                state, unknown = str(status.get("status")).casefold(), 0
                if state not in NOT_BEGUN:
                    on_begun()
                if state in ENDED:
                    return {**status, "status": state}
            await asyncio.sleep(pause)
            pause = min(1.3 * pause, 10 * self._section.poll_s)
        return None

    async def lines(self, file: str) -> list[Line] | None:
        """The lines of a result file; None for a file that is gone. A torn download is repeated: its answers are paid for."""
        facts = await self._call("GET", f"/files/{file}", may_be_unknown=True) or {}
        size = facts.get("bytes")
        patience, unknown = _Patience(self._section.dead_after_s, self._section.poll_s), 0
        before: bytes | None = None
        lines: list[Line | None] = []
        for _ in range(_DOWNLOADS):
            reply = await self._call("GET", f"/files/{file}/content", plain=True, may_be_unknown=True)
            if reply is None:
                unknown += 1
                if unknown == _LOOKS:
                    return None
            else:
                data: bytes = reply.content
                lines = lines_in(data)
                is_whole = len(data) == (size or len(data)) and None not in lines
                if is_whole or (data == before and len(data) == size):  # else the file itself is torn, not its download
                    break
                before = data
            await patience.pause(TryLater(replied=True))
        return [line for line in lines if line is not None]

    async def _call(self, method: str, path: str, *, plain: bool = False, may_be_unknown: bool = False, **options: Any) -> Any:
        """The reply; None where the provider does not know what `path` names, if `may_be_unknown`."""
        patience = _Patience(self._section.dead_after_s, self._section.poll_s)
        while True:
            reply = await self._try_call(method, path, plain=plain, may_be_unknown=may_be_unknown, **options)
            if not isinstance(reply, TryLater):
                return reply
            await patience.pause(reply)

    async def _try_call(
        self, method: str, path: str, *, plain: bool = False, may_be_unknown: bool = False, **options: Any
    ) -> Any:
        try:
            reply = await self._client.request(method, path, **options)
        except httpx.HTTPError:
            return TryLater()
        if may_be_unknown and reply.status_code in _UNKNOWN_STATUSES:
            return None
        if reply.status_code >= 300:
            return _failure(method, path, reply)
        if plain:
            return reply
        value = json_in(reply.content)
        return value if isinstance(value, dict) else TryLater()


class _Patience:
    """Pauses of one call, which grow. What the provider asks for is waited, and told; without any reply, the provider is dead."""

    def __init__(self, dead_after_s: float, poll_s: float) -> None:
        self._dead_after_s = dead_after_s
        self._first_s = min(_WAIT_S, poll_s)
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
    raise ServiceRefused(
        f"models.batch: wanted {method} /{path.split('/')[1]} to be taken, got HTTP {status}{f', {code}' if code else ''}; "
        "check url, key_env and model, and the account"
    )
