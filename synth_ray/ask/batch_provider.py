"""A provider's batch endpoints: files uploaded and downloaded, batches created, listed and polled."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx

from synth_ray.ask.openai_protocol import headers_of, path_of
from synth_ray.errors import EngineDied
from synth_ray.job.models import Model

ENDED = ("completed", "failed", "expired", "cancelled")
METADATA_KEY = "synth_ray"
"""Metadata key under which a batch carries the name of its record."""

_WAIT_S, _MAX_WAIT_S = 0.5, 60.0
_PAGE = 100
_DOWNLOADS = 12


class BatchProvider:
    """Law: a call is retried until it is answered; a refused key or model, or no reply for `dead_after_s`, is a dead engine.
    Creating a batch is never simply retried: the reply may be lost although the batch exists.
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
        self._last_reply = time.monotonic()

    async def create(self, name: str, lines: bytes) -> str:
        """Upload the requests and create their batch; returns its id."""
        file = await self._call("POST", "/files", files={"file": (f"{name}.jsonl", lines)}, data={"purpose": "batch"})
        body = {
            "input_file_id": file["id"],
            "endpoint": f"/v1/{path_of(self._model)}",
            "completion_window": f"{self._section.window_hours}h",
            "metadata": {METADATA_KEY: name},
        }
        tried = 0
        while True:
            if (created := await self._try_call("POST", "/batches", json=body)) is not None:
                return str(created["id"])
            # Without a reply the batch may exist all the same: look for it before creating another.
            await self._pause_or_give_up(tried)
            if existing := await self.find(name):
                return existing
            tried += 1

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
            for batch in page["data"]:
                yield batch
            if not page.get("has_more") or not page["data"]:
                return
            after = page["data"][-1]["id"]

    async def wait_until_ended(self, batch: str) -> dict[str, Any]:
        """Poll until the batch has ended; returns its status."""
        pause = self._section.poll_s
        while True:
            status: dict[str, Any] = await self._call("GET", f"/batches/{batch}")
            if status["status"] in ENDED:
                return status
            await asyncio.sleep(pause)
            pause = min(1.3 * pause, 10 * self._section.poll_s)

    async def lines(self, file: str | None) -> list[dict[str, Any]]:
        """The lines of a result file. A truncated download is fetched again: its answers are paid for."""
        size = (await self._call("GET", f"/files/{file}")).get("bytes") if file else None
        lines: list[dict[str, Any]] = []
        for tried in range(_DOWNLOADS if file else 0):
            data = await self._content(str(file))
            lines = [line for line in map(_parsed, data.splitlines()) if line is not None]
            if len(data) == (size or len(data)) and len(lines) == len(data.splitlines()):
                break
            await self._pause_or_give_up(tried)
        return lines

    async def _content(self, file: str) -> bytes:
        reply: httpx.Response = await self._call("GET", f"/files/{file}/content", plain=True)
        return reply.content

    async def _call(self, method: str, path: str, *, plain: bool = False, **options: Any) -> Any:
        tried = 0
        while True:
            reply = await self._try_call(method, path, plain=plain, **options)
            if reply is not None:
                return reply
            await self._pause_or_give_up(tried)
            tried += 1

    async def _try_call(self, method: str, path: str, *, plain: bool = False, **options: Any) -> Any:
        """The reply; None for a failure that may pass."""
        try:
            reply = await self._client.request(method, path, **options)
        except httpx.HTTPError:
            return None
        if reply.status_code == 429 or reply.status_code >= 500:
            return None
        if reply.status_code >= 400:
            raise EngineDied(
                f"models.batch: wanted {method} {path.split('/')[1]} to be taken, got HTTP {reply.status_code}; check url and "
                "key_env, and the provider's limits"
            )
        self._last_reply = time.monotonic()
        if plain:
            return reply
        try:
            return reply.json()
        except ValueError:
            return None

    async def _pause_or_give_up(self, tried: int) -> None:
        if time.monotonic() - self._last_reply > self._section.dead_after_s:
            raise EngineDied(f"models.batch: wanted a reply, got none in {self._section.dead_after_s:g} s")
        first = min(_WAIT_S, self._section.poll_s)
        await asyncio.sleep(min(_MAX_WAIT_S, first * 2 ** min(tried, 9)) * (0.5 + random.random()))


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) and "custom_id" in value else None
