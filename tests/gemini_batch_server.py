"""The Gemini API's batches by their documented shapes."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.batch_places import PlaceHandler, said

_CONFIG = {
    "maxOutputTokens", "temperature", "topP", "topK", "stopSequences", "presencePenalty", "frequencyPenalty", "seed",
    "candidateCount", "responseLogprobs", "logprobs", "responseMimeType", "responseSchema", "responseJsonSchema",
    "thinkingConfig",
}  # fmt: skip
_WORDS = {
    401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE", 529: "UNAVAILABLE",
}  # fmt: skip
_STATES = {"completed": "SUCCEEDED", "failed": "FAILED", "cancelled": "CANCELLED", "expired": "EXPIRED"}


def _error(status: int) -> dict[str, Any]:
    return {"error": {"code": status, "message": "SECRET", "status": _WORDS[status]}}


class GeminiHandler(PlaceHandler):
    key_header = "x-goog-api-key"
    errors = staticmethod(_error)

    def post(self, data: bytes) -> None:
        path = urlsplit(self.path).path
        if path == "/upload/v1beta/files":
            self._upload(data)
            return
        assert re.fullmatch(r"/v1beta/models/[\w.-]+:batchGenerateContent", path)
        self.place.at("create")
        batch = json.loads(data)["batch"]
        assert set(batch) == {"displayName", "inputConfig"}
        lines = [json.loads(line) for line in self._files()[batch["inputConfig"]["fileName"]].splitlines()]
        for line in lines:
            assert set(line) == {"key", "request"}
            assert set(line["request"]) <= {"contents", "systemInstruction", "generationConfig"}
            assert set(line["request"]["generationConfig"]) <= _CONFIG
            self.place.bodies.append(line["request"])
        begun = self.place.begin(keys=[line["key"] for line in lines], lines=lines, name=batch["displayName"])
        self.created(self._shown(begun))

    def _files(self) -> dict[str, bytes]:
        return self.place.__dict__.setdefault("files", {})

    def _upload(self, data: bytes) -> None:
        if self.headers["X-Goog-Upload-Command"] == "start":
            host = self.place.upload_host or self.headers["Host"]
            address = f"http://{host}/upload/v1beta/files?upload_id={len(self._files())}"
            self.json({}, headers={"X-Goog-Upload-URL": address, "X-Goog-Upload-Status": "active"})
            return
        assert self.headers["X-Goog-Upload-Command"] == "upload, finalize"
        name = f"files/in{len(self._files())}"
        self._files()[name] = data
        if self.place.nameless:
            self.json({})
            return
        self.json({"file": {"name": name, "sizeBytes": str(len(data)), "state": "ACTIVE"}})

    def _shown(self, batch: dict[str, Any]) -> dict[str, Any]:
        ended = self.place.is_ended(batch)
        state = f"BATCH_STATE_{_STATES[batch['status']] if ended else 'RUNNING'}"
        shown = {"name": f"batches/{batch['number']}", "metadata": {"displayName": batch["name"], "state": state}, "done": ended}
        if ended and batch["status"] == "failed":
            return shown | {"error": {"code": 13, "message": "Internal error"}}
        return shown | ({"response": {"responsesFile": f"files/batch-{batch['number']}"}} if ended else {})

    def get(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/v1beta/batches":
            shown = [self._shown(batch) for batch in self.place.listed()]
            start = int(parse_qs(parts.query).get("pageToken", ["0"])[0])
            end = start + self.place.page
            self.json({"operations": shown[start:end]} | ({"nextPageToken": str(end)} if end < len(shown) else {}))
        elif found := re.fullmatch(r"/v1beta/batches/(\d+)", parts.path):
            self.place.at("poll")
            self.json(self._shown(self.place.batches[int(found[1])]))
        elif found := re.fullmatch(r"/download/v1beta/files/batch-(\d+):download", parts.path):
            assert parts.query == "alt=media"
            self.place.at("download")
            batch = self.place.batches[int(found[1])]
            if not self.place.keeps(batch["number"]):
                self.json(_error(403), 403)
                return
            self.send(200, self.place.maybe_torn(self.place.results(batch, *self._lines(batch))))
        else:
            self.json(_error(404), 404)

    def _lines(self, batch: dict[str, Any]) -> Any:
        def answer(number: int) -> Any:
            line = batch["lines"][number]
            text = line["request"]["contents"][-1]["parts"][-1]["text"]
            count = line["request"]["generationConfig"].get("candidateCount", 1)
            candidates = [
                {"index": place, "finishReason": "STOP", "content": {"role": "model", "parts": [{"text": said(text)}]}}
                for place in range(count)
            ]
            usage = {
                "promptTokenCount": 10,
                "cachedContentTokenCount": 1,
                "candidatesTokenCount": 5 * count,
                "totalTokenCount": 15,
            }
            odd = self.place.odd(text)
            if odd and "error" in odd:
                return {"key": line["key"], **odd}
            return {"key": line["key"], "response": {"candidates": candidates, "usageMetadata": usage} | (odd or {})}

        def missing(number: int) -> Any:
            return {"key": batch["lines"][number]["key"], "error": {"code": 4, "message": "SECRET"}}

        return answer, missing
