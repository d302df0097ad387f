"""The Gemini API's batches: requests and responses in files, and an operation for each batch, which has a display name."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import Any
from urllib.parse import urlsplit

from synth_ray.ask.batches.calls import UNKNOWN, Calls, TryLater, whole_lines
from synth_ray.ask.batches.contract import Status, create_once, wait_until_ended
from synth_ray.ask.batches.errors import ProviderError, errors_in
from synth_ray.ask.batches.gemini_content import MOST_ANSWERS, content_request, reply_of
from synth_ray.ask.batches.records import BatchRecord
from synth_ray.ask.batches.results import EndedBatch, Line, answered, by_custom_id, lines_in, refused
from synth_ray.ask.openai_protocol import key_from_env
from synth_ray.ask.teacher import Prompt
from synth_ray.errors import ServiceRefused
from synth_ray.job.models import Model

_PAGE = 100
_UNKNOWN_FILE = (*UNKNOWN, 403)
"""Files are kept for 48 hours, and one that is not there is answered like one that may not be read."""
_STATUSES = {
    1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 501, 13: 500, 14: 503, 15: 500,
    16: 401,
}  # fmt: skip
"""HTTP statuses of Google's error codes."""
_CODES = {1: "cancelled", 2: "internal", 4: "timeout", 8: "resource_exhausted", 10: "internal", 13: "internal", 14: "unavailable"}
"""Words of `errors` for a whole batch that ended with one of Google's codes; any other stops the run."""
_ENDS = {"SUCCEEDED": "completed", "FAILED": "failed", "CANCELLED": "cancelled", "EXPIRED": "expired"}


class GeminiBatches:
    """See `contract.BatchProvider`. Requests go in a file whatever their size: one way for all."""

    most_answers = MOST_ANSWERS

    def __init__(self, model: Model) -> None:
        assert model.batch is not None
        self._model, self._section = model, model.batch
        key = key_from_env("batch", self._section.key_env)
        self._calls = Calls(self._section, self._section.base_url, {"x-goog-api-key": key} if key else {})

    def _beside(self, folder: str) -> str:
        """The URL of the service that takes or gives files, beside the API's own."""
        parts = urlsplit(self._section.base_url)
        return f"{parts.scheme}://{parts.netloc}/{folder}{parts.path}"

    def request(self, prompt: Prompt) -> bytes:
        line = {"key": prompt.key, "request": content_request(self._model, prompt)}
        return json.dumps(line, ensure_ascii=False).encode("utf-8", "backslashreplace")

    async def create(self, record: BatchRecord, requests: Sequence[bytes], known: Collection[str]) -> str:
        file = await self._upload(record.name, b"\n".join(requests) + b"\n")
        batch = {"displayName": _display_name(record), "inputConfig": {"fileName": file}}
        model = self._model.model.removeprefix("models/")

        async def post() -> str | TryLater:
            created = await self._calls.try_call("POST", f"/models/{model}:batchGenerateContent", json={"batch": batch})
            return created if isinstance(created, TryLater) else str(created.get("name") or "") or TryLater()

        return await create_once(self, record, known, self._calls, post)

    async def _upload(self, name: str, data: bytes) -> str:
        """Upload a file in the two calls of the resumable protocol; returns its name, as files/abc."""
        start = {
            "X-Goog-Upload-Protocol": "resumable",
            "X-Goog-Upload-Command": "start",
            "X-Goog-Upload-Header-Content-Length": str(len(data)),
            "X-Goog-Upload-Header-Content-Type": "application/jsonl",
        }
        finish = {"X-Goog-Upload-Offset": "0", "X-Goog-Upload-Command": "upload, finalize"}
        place = f"{self._beside('upload')}/files"

        async def upload() -> str | TryLater:
            begun = await self._calls.try_call("POST", place, json={"file": {"displayName": name}}, headers=start, plain=True)
            if isinstance(begun, TryLater):
                return begun
            address = begun.headers.get("x-goog-upload-url", "")
            if not address:
                return ""
            self._refuse_other_host(address, place)
            done = await self._calls.try_call("POST", address, content=data, headers=finish)
            return done if isinstance(done, TryLater) else _file_name(done)

        return await self._calls.uploaded(upload)

    def _refuse_other_host(self, address: str, place: str) -> None:
        """The key goes to no other host than the job names."""
        wanted, got = urlsplit(place).netloc, urlsplit(address).netloc
        if got != wanted:
            raise ServiceRefused(
                f"models.batch.url: wanted the provider to take files at {wanted}, got {got or 'no host'}, to which the key is "
                "not sent; set url to the host that takes the files"
            )

    async def find(self, record: BatchRecord, known: Collection[str]) -> str:
        async for batch in self._list_batches():
            if _facts(batch).get("displayName") == _display_name(record):
                return str(batch["name"])
        return ""

    async def _list_batches(self) -> AsyncIterator[dict[str, Any]]:
        token = ""
        while True:
            where = {"pageSize": _PAGE} | ({"pageToken": token} if token else {})
            page = await self._calls.call("GET", "/batches", params=where)
            for batch in page.get("operations") or page.get("batches") or []:
                if isinstance(batch, dict) and batch.get("name"):
                    yield batch
            token = page.get("nextPageToken") or ""
            if not token:
                return

    async def end_of(self, record: BatchRecord, on_begun: Callable[[], None]) -> EndedBatch | None:
        name, last, status = record.batch, {}, ""

        async def look() -> Status:
            nonlocal name, last, status
            batch = await self._calls.call("GET", f"/{name}", unknown=UNKNOWN)
            if batch is None:
                name = await self.find(record, ()) or name
                return "gone"
            last, state = batch, str(_facts(batch).get("state")).rpartition("_")[2]
            status = _ENDS.get(state, "failed" if batch.get("error") else "completed" if batch.get("done") else "")
            if status:
                return "failed" if status == "failed" else "ended"
            return "begun" if state == "RUNNING" else "waiting"

        if not await wait_until_ended(look, self._section.poll_s, on_begun):
            return None
        file = _responses_file(last)
        lines = await self._lines(file, len(record.ids)) if file else []
        return None if lines is None else EndedBatch(status, _errors(last), by_custom_id(lines))

    async def _lines(self, file: str, requests: int) -> list[Line] | None:
        address = f"{self._beside('download')}/{file}:download"

        async def fetch() -> bytes | None:
            reply = await self._calls.call("GET", address, params={"alt": "media"}, plain=True, unknown=_UNKNOWN_FILE)
            return None if reply is None else reply.content

        return await whole_lines(fetch, lambda data: lines_in(data, _line), self._calls.patience(), lines=requests)


def _file_name(uploaded: dict[str, Any]) -> str:
    file = uploaded.get("file")
    return str(file.get("name") or "") if isinstance(file, dict) else ""


def _display_name(record: BatchRecord) -> str:
    return f"synth-ray-{record.name}"


def _facts(batch: dict[str, Any]) -> dict[str, Any]:
    """What is told of a batch: it is the metadata of its operation, or the batch itself."""
    facts = batch.get("metadata")
    return facts if isinstance(facts, dict) else batch


def _responses_file(batch: dict[str, Any]) -> str:
    for place in (batch.get("response"), _facts(batch).get("output"), _facts(batch).get("dest")):
        for name in ("responsesFile", "fileName"):
            if isinstance(place, dict) and isinstance(place.get(name), str):
                return str(place[name])
    return ""


def _errors(batch: dict[str, Any]) -> list[ProviderError]:
    error = batch.get("error")
    if not isinstance(error, dict):
        return []
    code = error.get("code")
    word = _CODES.get(code, "") if isinstance(code, int) else ""
    return errors_in({"error": {**error, "code": word or error.get("status") or "failed"}})


def _line(line: Line) -> Line | None:
    """A line of the responses in OpenAI's form."""
    if "response" in line and "error" not in line:
        return answered(line.get("key"), reply_of(line["response"]))
    error = line.get("error")
    if not isinstance(error, dict):
        return None
    code = error.get("code")
    status = _STATUSES.get(code, code if isinstance(code, int) and 400 <= code < 600 else 500) if isinstance(code, int) else 500
    return refused(line.get("key"), status, {"code": error.get("status") or "", "message": error.get("message")})
