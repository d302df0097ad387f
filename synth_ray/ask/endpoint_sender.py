"""Sends requests to the servers of one model, over the connections of one event loop, and says what each reply is."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from synth_ray.ask.adaptive_limit import EndpointLimiter, EndpointState
from synth_ray.ask.dialect import LIMITS
from synth_ray.ask.openai_replies import answers_in
from synth_ray.ask.scoring_protocol import place_of, replies_in
from synth_ray.ask.server_errors import REFUSES_ALL, Meaning, ServerError, error_in
from synth_ray.ask.server_text import json_in
from synth_ray.job.models import Model

_MOST_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True)
class RetryLater:
    """No answer yet. A busy server (429) has done no work, so such tries do not count (`uses_retry`). `is_told_wait`: the server
    says how long it wants to be left alone, and the limiter sees to it. `is_empty`: the reply was whole, and held no answer.
    """

    uses_retry: bool = True
    is_told_wait: bool = False
    is_empty: bool = False


class EndpointSender:
    def __init__(self, model: Model, headers: Mapping[str, str]) -> None:
        assert model.endpoint is not None
        section = model.endpoint
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=section.concurrency)
        self._client = httpx.AsyncClient(headers=dict(headers), timeout=section.try_s(0), limits=limits)
        self._model, self._section = model, section
        self._longest_try_s = section.try_s(0)
        self._places = {url: place_of(model, url) for url in section.urls}
        self.limiter = EndpointLimiter(section.urls, max_limit=section.concurrency)
        self.has_answered = False
        self._trial = asyncio.Lock()
        self._trial_began, self._trial_refused = 0.0, False

    @property
    def dead_after_s(self) -> float:
        return self._section.silent_s(self._longest_try_s)

    async def send(
        self, endpoint: EndpointState, body: Mapping[str, Any], read: Callable[[Any], list[Any]] = answers_in
    ) -> list[Any] | RetryLater | ServerError:
        """What `read` finds in the reply, the answers; RetryLater where another try may get them; the error where it will not."""
        began = time.monotonic()
        try:
            reply = await self._post(endpoint.url, body)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            self.limiter.on_connect_error(endpoint)
            return RetryLater(uses_retry=False)
        except (httpx.HTTPError, httpx.InvalidURL):
            self.limiter.on_overload(endpoint)
            return RetryLater()
        if reply.status_code != 200:
            return self._failed(endpoint, self._error(endpoint, reply, reply.status_code, body))
        value = json_in(reply.content)
        answers = read(value) if self._model.task == "generate" else replies_in(self._model, value)
        if answers:
            self.has_answered = True
            self.limiter.on_success(endpoint, time.monotonic() - began)
            return answers
        return self._without_answer(endpoint, reply, value, body)

    async def _post(self, url: str, body: Mapping[str, Any]) -> httpx.Response:
        """The reply at the end of redirects, as far as they stay at the same server: the key is sent to no other."""
        content = json.dumps(body, ensure_ascii=False).encode("utf-8", "backslashreplace")
        place, headers = self._places[url], {"Content-Type": "application/json"}
        try_s = self._section.try_s(next((int(body[name]) for name in LIMITS if name in body), 0))
        self._longest_try_s = max(self._longest_try_s, try_s)
        for _ in range(_MOST_REDIRECTS):
            reply = await self._client.post(place, content=content, headers=headers, timeout=try_s)
            target = urljoin(place, reply.headers.get("location", ""))
            if reply.status_code not in _REDIRECTS or not _is_same_server(place, target):
                break
            place = target
        if reply.status_code == 200:
            self._places[url] = place
        return reply

    def _without_answer(
        self, endpoint: EndpointState, reply: httpx.Response, value: Any, body: Mapping[str, Any]
    ) -> RetryLater | ServerError:
        if value is None and "html" in reply.headers.get("content-type", "") and not self.has_answered:
            return ServerError(Meaning.PATH, 200, place=f"{self._places[endpoint.url]} (a web page)")
        if value is None:
            self.limiter.on_overload(endpoint)
            return RetryLater()
        if isinstance(value, dict) and value.get("error"):
            return self._failed(endpoint, self._error(endpoint, reply, _status_in(value["error"]), body))
        self.limiter.on_reply(endpoint)
        return RetryLater(is_empty=True)

    def _error(self, endpoint: EndpointState, reply: httpx.Response, status: int, body: Mapping[str, Any]) -> ServerError:
        place = self._places[endpoint.url]
        if status in _REDIRECTS:
            target = urlsplit(urljoin(place, reply.headers.get("location", "")))
            place += f" (a redirect to {target.scheme}://{target.netloc.rpartition('@')[2]}{target.path})"
        return replace(error_in(status, reply.text, sent=tuple(body), headers=reply.headers), place=place)

    def _failed(self, endpoint: EndpointState, error: ServerError) -> RetryLater | ServerError:
        if error.meaning in (Meaning.BUSY, Meaning.RETRY):
            is_busy = error.meaning is Meaning.BUSY
            self.limiter.on_overload(endpoint, wait_s=error.wait_s, is_busy=is_busy)
            return RetryLater(uses_retry=not is_busy, is_told_wait=error.wait_s > 0)
        self.limiter.on_reply(endpoint)
        return error

    async def refuses(self, endpoint: EndpointState, trial: Mapping[str, Any]) -> bool | None:
        """Whether the server refuses a harmless ask too; None if that cannot be told now. Calls that wait share one trial, which
        began after each of them.
        """
        called = time.monotonic()
        async with self._trial:
            if self._trial_began <= called:
                self._trial_began = time.monotonic()
                got = await self.send(endpoint, trial)
                if isinstance(got, RetryLater):
                    self._trial_began = 0.0
                    return None
                refused = isinstance(got, ServerError) and (got.meaning in REFUSES_ALL or got.meaning is Meaning.FORBIDDEN)
                self._trial_refused = refused
            return self._trial_refused


def _is_same_server(place: str, target: str) -> bool:
    """Whether a redirect stays at its server: the same host and port, or its encrypted form."""
    here, there = urlsplit(place), urlsplit(target)
    if here.hostname != there.hostname or target == place:
        return False
    return (here.scheme, here.port) == (there.scheme, there.port) or (here.scheme, there.scheme) == ("http", "https")


def _status_in(error: Any) -> int:
    """The status of an error that came with HTTP 200."""
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(code, str) and code.isdecimal() and len(code) == 3:
        code = int(code)
    if isinstance(code, int) and 400 <= code < 600:
        return code
    says = json.dumps(error).casefold()
    if "rate" in says and "limit" in says:
        return 429
    return 503 if any(word in says for word in ("server", "overload", "timeout", "timed out", "internal", "upstream")) else 400
