"""OpenAI's batches: files uploaded and downloaded, batches created, listed and polled. The name of a batch is in its metadata."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import Any

from synth_ray.ask.batches.calls import UNKNOWN, Calls, TryLater, whole_lines
from synth_ray.ask.batches.contract import Status, create_once, wait_until_ended
from synth_ray.ask.batches.errors import errors_in
from synth_ray.ask.batches.records import BatchRecord, place_of
from synth_ray.ask.batches.results import EndedBatch, Line, by_custom_id, lines_in
from synth_ray.ask.openai_protocol import headers_of, path_of, request_body
from synth_ray.ask.server_thinking import refuse_budget
from synth_ray.ask.teacher import Prompt
from synth_ray.job.models import Model

log = logging.getLogger(__name__)

ENDED = ("completed", "failed", "expired", "cancelled")
NOT_BEGUN = ("validating", "failed")
METADATA_KEY = "synth_ray"
"""Metadata key under which a batch carries the name of its record."""

_PAGE = 100
_ANY = 1 << 20


class OpenAIBatches:
    """See `contract.BatchProvider`."""

    most_answers = _ANY

    def __init__(self, model: Model) -> None:
        assert model.batch is not None
        self._model, self._section = model, model.batch
        headers = headers_of("batch", self._section.key_env)
        refuse_budget(model, self._section.flavour, where="models.teacher")
        self._calls = Calls(self._section, self._section.base_url, headers, follow_redirects=True)

    def request(self, prompt: Prompt) -> bytes:
        body = request_body(self._model, prompt, flavour=self._section.flavour)
        line = {"custom_id": prompt.key, "method": "POST", "url": f"/v1/{path_of(self._model)}", "body": body}
        return json.dumps(line, ensure_ascii=False).encode("utf-8", "backslashreplace")

    async def create(self, record: BatchRecord, requests: Sequence[bytes], known: Collection[str]) -> str:
        upload = {"file": (f"{record.name}.jsonl", b"\n".join(requests) + b"\n")}

        async def send() -> str | TryLater:
            file = await self._calls.try_call("POST", "/files", files=upload, data={"purpose": "batch"})
            return file if isinstance(file, TryLater) else str(file.get("id") or "")

        body = {
            "input_file_id": await self._calls.uploaded(send),
            "endpoint": f"/v1/{path_of(self._model)}",
            "completion_window": f"{self._section.window_hours}h",
            "metadata": {METADATA_KEY: record.name},
        }

        async def post() -> str | TryLater:
            created = await self._calls.try_call("POST", "/batches", json=body)
            return created if isinstance(created, TryLater) else str(created.get("id") or "") or TryLater()

        return await create_once(self, record, known, self._calls, post)

    async def find(self, record: BatchRecord, known: Collection[str]) -> str:
        async for batch in self._list_batches():
            if (batch.get("metadata") or {}).get(METADATA_KEY) == record.name:
                return str(batch["id"])
        return ""

    async def _list_batches(self) -> AsyncIterator[dict[str, Any]]:
        after = ""
        while True:
            page = await self._calls.call("GET", "/batches", params={"limit": _PAGE} | ({"after": after} if after else {}))
            batches = page.get("data") or []
            for batch in batches:
                yield batch
            if not page.get("has_more") or not batches or batches[-1]["id"] == after:
                return
            after = batches[-1]["id"]

    async def end_of(self, record: BatchRecord, on_begun: Callable[[], None]) -> EndedBatch | None:
        name, last = record.batch, {}

        async def look() -> Status:
            nonlocal name, last
            status = await self._calls.call("GET", f"/batches/{name}", unknown=UNKNOWN)
            if status is None:
                name = await self.find(record, ()) or name
                return "gone"
            last = {**status, "status": str(status.get("status")).casefold()}
            if last["status"] in ENDED:
                return "failed" if last["status"] == "failed" else "ended"
            return "waiting" if last["status"] in NOT_BEGUN else "begun"

        if not await wait_until_ended(look, self._section.poll_s, on_begun):
            return None
        lines: list[Line] = []
        for kind in ("error_file_id", "output_file_id"):
            found = await self._lines(str(last[kind])) if last.get(kind) else []
            if found is None:
                log.warning(
                    "models.batch: the %s of batch %s is gone at the provider (its record is %s): what it held is asked again",
                    kind, name, place_of(record),
                )  # fmt: skip
            lines += found or []
        return EndedBatch(last["status"], errors_in(last), by_custom_id(lines))

    async def _lines(self, file: str) -> list[Line] | None:
        """The lines of a result file; None for a file that is gone."""
        facts = await self._calls.call("GET", f"/files/{file}", unknown=UNKNOWN) or {}
        size = facts.get("bytes")

        async def fetch() -> bytes | None:
            reply = await self._calls.call("GET", f"/files/{file}/content", plain=True, unknown=UNKNOWN)
            return None if reply is None else reply.content

        return await whole_lines(fetch, lines_in, self._calls.patience(), size=size if isinstance(size, int) else None)
