"""Anthropic's Message Batches by their documented shapes."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.batch_places import PlaceHandler, said

_ROOT = "/v1/messages/batches"
_PARAMS = {
    "model", "max_tokens", "messages", "system", "temperature", "top_p", "top_k", "stop_sequences", "thinking", "output_config",
}  # fmt: skip
_TYPES = {
    401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error", 500: "api_error", 503: "api_error",
    529: "overloaded_error",
}  # fmt: skip


def _error(status: int) -> dict[str, Any]:
    return {"type": "error", "error": {"type": _TYPES[status], "message": "SECRET"}, "request_id": "req_1"}


class AnthropicHandler(PlaceHandler):
    key_header = "x-api-key"
    errors = staticmethod(_error)

    def post(self, data: bytes) -> None:
        assert self.path == _ROOT
        assert self.headers["anthropic-version"] == "2023-06-01"
        self.place.at("create")
        requests = json.loads(data)["requests"]
        names = [request["custom_id"] for request in requests]
        assert len(set(names)) == len(names)
        assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in names)
        for request in requests:
            assert set(request) == {"custom_id", "params"}
            assert set(request["params"]) <= _PARAMS
            assert all(message["role"] in ("user", "assistant") for message in request["params"]["messages"])
            self.place.bodies.append(request["params"])
        batch = self.place.begin(keys=[name.partition("-")[0] for name in names], requests=requests)
        self.created(self._shown(batch))

    def _shown(self, batch: dict[str, Any]) -> dict[str, Any]:
        ended, total = self.place.is_ended(batch), len(batch["keys"])
        done = len(batch.get("done", ()))
        left = {"expired": "expired", "cancelled": "canceled"}.get(batch["status"], "errored")
        counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
        counts |= {"succeeded": done, left: total - done} if ended else {"processing": total}
        name = f"msgbatch_{batch['number']:03}"
        return {
            "id": name,
            "type": "message_batch",
            "processing_status": "ended" if ended else "in_progress",
            "request_counts": counts,
            "created_at": datetime.fromtimestamp(batch["began"], UTC).isoformat().replace("+00:00", "Z"),
            "archived_at": None,
            "results_url": f"https://api.anthropic.com{_ROOT}/{name}/results" if ended else None,
        }

    def get(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == _ROOT:
            self._list(parse_qs(parts.query))
            return
        _, _, rest = parts.path.partition(f"{_ROOT}/msgbatch_")
        number, _, results = rest.partition("/")
        batch = self.place.batches[int(number)] if int(number) < len(self.place.batches) else None
        if batch is None or (results and not self.place.is_ended(batch)):
            self.json(_error(404), 404)
        elif results:
            self.place.at("download")
            if self.place.results_fail:
                status = self.place.results_fail.pop(0)
                self.json(_error(status), status)
                return
            self.send(200, self.place.maybe_torn(self.place.results(batch, *self._lines(batch))))
        else:
            self.place.at("poll")
            self.json(self._shown(batch))

    def _list(self, query: dict[str, list[str]]) -> None:
        shown = [self._shown(batch) for batch in self.place.listed()]
        after = query.get("after_id", [""])[0]
        start = [batch["id"] for batch in shown].index(after) + 1 if after else 0
        page = shown[start : start + self.place.page]
        more = start + self.place.page < len(shown)
        self.json({"data": page, "has_more": more, "first_id": None, "last_id": page[-1]["id"] if page else None})

    def _lines(self, batch: dict[str, Any]) -> Any:
        def answer(number: int) -> Any:
            request = batch["requests"][number]
            text = request["params"]["messages"][-1]["content"]
            message = {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "text", "text": said(text)}],
                "stop_reason": "end_turn",
                "usage": {"input_tokens": 7, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 1, "output_tokens": 5},
            }
            odd = self.place.odd(text)
            result = odd if odd and "type" in odd else {"type": "succeeded", "message": message | (odd or {})}
            return {"custom_id": request["custom_id"], "result": result}

        def missing(number: int) -> Any:
            kind = {"expired": "expired", "cancelled": "canceled"}.get(batch["status"], "")
            result = {"type": kind} if kind else {"type": "errored", "error": _error(500)}
            return {"custom_id": batch["requests"][number]["custom_id"], "result": result}

        return answer, missing
