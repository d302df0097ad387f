"""Anthropic's Message Batches: one call creates a batch, which has no name; its results are one file, once it has ended."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from datetime import datetime
from typing import Any

from synth_ray.ask.batches.anthropic_messages import message_params, reply_of
from synth_ray.ask.batches.calls import UNKNOWN, Calls, TryLater, whole_lines
from synth_ray.ask.batches.contract import Status, create_once, wait_until_ended
from synth_ray.ask.batches.records import BatchRecord
from synth_ray.ask.batches.results import EndedBatch, Line, answered, by_custom_id, lines_in, refused, unanswered
from synth_ray.ask.openai_protocol import key_from_env
from synth_ray.ask.server_text import json_in
from synth_ray.ask.teacher import Prompt
from synth_ray.job.models import Model

log = logging.getLogger(__name__)

_PAGE = 100
_CLOCKS_APART_S = 3600.0
"""How far this machine's clock may be ahead of the provider's."""
_MARK = 31
"""Characters of a batch's name in its custom ids, which have 64: an ask's key has 32, and a dash is between them."""
_STATUSES = {
    "invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403,
    "not_found_error": 404, "request_too_large": 413, "rate_limit_error": 429,
    "api_error": 500, "timeout_error": 504, "overloaded_error": 529,
}  # fmt: skip


class AnthropicBatches:
    """See `contract.BatchProvider`. Custom ids are `<the ask's key>-<the beginning of the batch's name>`."""

    most_answers = 1

    def __init__(self, model: Model) -> None:
        assert model.batch is not None
        self._model, self._section = model, model.batch
        key = key_from_env("batch", self._section.key_env)
        headers = {"anthropic-version": self._section.version} | ({"x-api-key": key} if key else {})
        self._calls = Calls(self._section, self._section.base_url, headers)

    def request(self, prompt: Prompt) -> bytes:
        return json.dumps(message_params(self._model, prompt), ensure_ascii=False).encode("utf-8", "backslashreplace")

    async def create(self, record: BatchRecord, requests: Sequence[bytes], known: Collection[str]) -> str:
        pairs = zip(record.ids, requests, strict=True)
        parts = [b'{"custom_id": "%s-%s", "params": %s}' % (key.encode(), _mark(record).encode(), body) for key, body in pairs]
        data, headers = b'{"requests": [' + b", ".join(parts) + b"]}", {"content-type": "application/json"}

        async def post() -> str | TryLater:
            created = await self._calls.try_call("POST", "/messages/batches", content=data, headers=headers)
            return created if isinstance(created, TryLater) else str(created.get("id") or "") or TryLater()

        return await create_once(self, record, known, self._calls, post)

    async def find(self, record: BatchRecord, known: Collection[str]) -> str:
        """Looks at batches that have ended first, then at the oldest."""
        candidates = [batch async for batch in self._created_since(record.at) if _may_be(batch, record, known)]
        for batch in sorted(candidates, key=lambda batch: (batch.get("processing_status") != "ended", _created_at(batch))):
            name = str(batch["id"])
            if batch.get("processing_status") != "ended":
                log.info("models.batch: waiting for the end of batch %s, to see whether it is ours", name)
            if not await wait_until_ended(lambda name=name: self._look(name), self._section.poll_s, lambda: None):  # type: ignore[misc]
                continue
            line = json_in(await self._calls.first_line(f"/messages/batches/{name}/results") or b"")
            if isinstance(line, dict) and str(line.get("custom_id")).partition("-")[2] == _mark(record):
                return name
        return ""

    async def _created_since(self, at: float) -> AsyncIterator[dict[str, Any]]:
        """The provider's batches, the newest first, as far back as this time."""
        after = ""
        while True:
            where = {"limit": _PAGE} | ({"after_id": after} if after else {})
            page = await self._calls.call("GET", "/messages/batches", params=where)
            batches = [batch for batch in page.get("data") or [] if isinstance(batch, dict) and batch.get("id")]
            for batch in batches:
                if _created_at(batch) < at - _CLOCKS_APART_S:
                    return
                yield batch
            if not page.get("has_more") or not batches or page.get("last_id") in (None, after):
                return
            after = page["last_id"]

    async def _look(self, name: str) -> Status:
        batch = await self._calls.call("GET", f"/messages/batches/{name}", unknown=UNKNOWN)
        if batch is None:
            return "gone"
        return "ended" if batch.get("processing_status") == "ended" else "begun"

    async def end_of(self, record: BatchRecord, on_begun: Callable[[], None]) -> EndedBatch | None:
        name = record.batch
        if not await wait_until_ended(lambda: self._look(name), self._section.poll_s, on_begun):
            return None

        async def fetch() -> bytes | None:
            reply = await self._calls.call("GET", f"/messages/batches/{name}/results", plain=True, unknown=UNKNOWN)
            return None if reply is None else reply.content

        lines = await whole_lines(fetch, lambda data: lines_in(data, _line), self._calls.patience(), lines=len(record.ids))
        return None if lines is None else EndedBatch("completed", lines=by_custom_id(lines))


def _mark(record: BatchRecord) -> str:
    return record.name[:_MARK]


def _may_be(batch: dict[str, Any], record: BatchRecord, known: Collection[str]) -> bool:
    """Whether a listed batch may be the record's, by what is shown of a batch before its end."""
    counts = batch.get("request_counts")
    total = sum(count for count in counts.values() if isinstance(count, int)) if isinstance(counts, dict) else len(record.ids)
    return total == len(record.ids) and batch["id"] not in known


def _created_at(batch: dict[str, Any]) -> float:
    """Seconds since 1970; infinite where it is not told, so that the batch counts as new."""
    try:
        return datetime.fromisoformat(batch["created_at"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return float("inf")


def _line(line: Line) -> Line | None:
    """A line of the results in OpenAI's form."""
    result, name = line.get("result"), line.get("custom_id")
    if not isinstance(result, dict) or not isinstance(name, str):
        return None
    key, kind = name.partition("-")[0], result.get("type")
    if kind == "succeeded":
        return answered(key, reply_of(result.get("message")))
    if kind != "errored":
        return unanswered(key, f"batch_{kind}")
    error = result.get("error")
    error = error.get("error", error) if isinstance(error, dict) else {}
    error = error if isinstance(error, dict) else {}
    return refused(key, _STATUSES.get(str(error.get("type")), 500), error)
