"""A model behind an OpenAI-compatible server: chat or plain completions, over one URL or several."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from synth_ray.ask.adaptive_limit import EndpointLimiter, EndpointState
from synth_ray.ask.openai_protocol import completions_in, error_for_status, headers_of, path_of, request_body
from synth_ray.ask.teacher import Load, Prompt, TeacherFacts
from synth_ray.errors import AskFailed, EngineDied, MissingResource
from synth_ray.job.models import Model
from synth_ray.recipes.contract import Completion
from synth_ray.records import Reason

_FIRST_RETRIES = 64
_WAIT_S, _MAX_WAIT_S = 0.5, 30.0


@dataclass(frozen=True, slots=True)
class RetryLater:
    """No answer yet: retry after `wait_s`. A busy server (429) has done no work, so such tries do not count (`uses_retry`)."""

    wait_s: float = 0.0
    uses_retry: bool = True


class EndpointTeacher:
    """Law: an ask is answered, or fails for a reason of its own; a server that refuses the key or the model, or sends no reply
    for `endpoint.dead_after_s`, is a dead engine. Secrets come from the environment and appear in no error.
    """

    def __init__(self, model: Model) -> None:
        assert model.endpoint is not None
        self._model, self._endpoint = model, model.endpoint
        self._urls = model.endpoint.urls
        self._is_vllm = False
        self._limiter: EndpointLimiter | None = None
        self._client: httpx.AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._retries = float(_FIRST_RETRIES)

    def open(self) -> TeacherFacts:
        """Fetch the model list of every URL. Raises MissingResource where none replies, or where the key or the model is not
        there.
        """
        began = time.monotonic()
        answers = [models for url in self._urls if (models := self._fetch_model_info(url)) is not None]
        if not answers:
            raise MissingResource(
                f"models.endpoint.urls: wanted a server that answers, got none of {len(self._urls)}; is one up?"
            )
        matching = [model for models in answers for model in models if model.get("id") == self._model.model]
        if not matching:
            raise MissingResource(
                f"models.model: wanted a model that the server has, got '{self._model.model}', which it has not"
            )
        self._is_vllm = matching[0].get("owned_by") == "vllm" or self._endpoint.flavour == "vllm"
        return TeacherFacts(
            engine="endpoint",
            model=self._model.model,
            revision=self._model.revision,
            max_running=self._endpoint.concurrency * len(self._urls),
            max_model_len=int(matching[0].get("max_model_len") or 1 << 20),
            engine_args={"flavour": "vllm" if self._is_vllm else "openai", "urls": len(self._urls)},
            start_s=time.monotonic() - began,
        )

    def _headers(self) -> dict[str, str]:
        return headers_of("endpoint", self._endpoint.key_env)

    def _fetch_model_info(self, url: str) -> list[dict[str, Any]] | None:
        try:
            reply = httpx.get(f"{url}/models", headers=self._headers(), timeout=30.0)
        except httpx.HTTPError:
            return None
        if reply.status_code in (401, 403):
            raise MissingResource(f"models.endpoint.key_env: wanted a key that the server takes, got HTTP {reply.status_code}")
        if reply.status_code != 200:
            return None
        try:
            return list(reply.json()["data"])
        except (ValueError, KeyError, TypeError):
            return None

    async def answer(self, prompt: Prompt) -> list[Completion]:
        body = request_body(self._model, prompt, is_vllm=self._is_vllm)
        tried = failed = 0
        while True:
            async with self._limiter_on_loop().acquire() as endpoint:
                got = await self._try(endpoint, body, prompt.n)
            if isinstance(got, list):
                self._retries += self._endpoint.retry_share
                return got
            self._refuse_dead()
            tried += 1
            if got.uses_retry:
                failed += 1
                self._retries -= 1
            if failed > self._endpoint.retries or self._retries < 0:
                raise AskFailed(Reason.ENGINE_ERROR, f"no answer in {tried} tries")
            pause = min(_MAX_WAIT_S, _WAIT_S * 2 ** min(tried - 1, 8)) * (0.5 + random.random())
            await asyncio.sleep(max(got.wait_s, pause))

    def _limiter_on_loop(self) -> EndpointLimiter:
        """The limiter belongs to an event loop; make a new one for another loop."""
        loop = asyncio.get_running_loop()
        if self._limiter is None or self._client is None or self._loop is not loop:
            self._loop = loop
            max_concurrency = self._endpoint.concurrency
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=max_concurrency)
            self._client = httpx.AsyncClient(headers=self._headers(), timeout=self._endpoint.timeout_s, limits=limits)
            self._limiter = EndpointLimiter(self._urls, max_limit=max_concurrency)
        return self._limiter

    def _refuse_dead(self) -> None:
        limiter = self._limiter_on_loop()
        if time.monotonic() - limiter.last_success > self._endpoint.dead_after_s:
            raise EngineDied(
                f"endpoint: wanted an answer, got none from {len(self._urls)} servers in {self._endpoint.dead_after_s:g} s"
            )

    async def _try(self, endpoint: EndpointState, body: Mapping[str, Any], n: int) -> list[Completion] | RetryLater:
        """The answers, or RetryLater. Raises AskFailed or EngineDied for errors that no retry mends."""
        limiter, client = self._limiter_on_loop(), self._client
        assert client is not None
        began = time.monotonic()
        try:
            reply = await client.post(f"{endpoint.url}/{path_of(self._model)}", json=body)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            limiter.on_connect_error(endpoint)
            return RetryLater(uses_retry=False)
        except httpx.HTTPError:
            limiter.on_overload(endpoint)
            return RetryLater()
        if reply.status_code == 429 or reply.status_code >= 500:
            retry = RetryLater(_retry_after(reply), uses_retry=reply.status_code != 429)
            limiter.on_overload(endpoint, wait_s=retry.wait_s)
            return retry
        if reply.status_code != 200:
            raise error_for_status(reply.status_code, reply.text)
        answers = completions_in(_read(reply), n)
        if answers is None:
            limiter.on_overload(endpoint)
            return RetryLater()
        limiter.on_success(endpoint, time.monotonic() - began)
        return answers

    def load(self) -> Load:
        limiter = self._limiter
        return Load(running=limiter.running, waiting=limiter.waiting) if limiter is not None else Load()

    def close(self) -> None:
        pass  # connections are closed with the event loop that owns them


def _read(reply: httpx.Response) -> Any:
    """The body of a reply; None if it is truncated."""
    try:
        return reply.json()
    except ValueError:
        return None


def _retry_after(reply: httpx.Response) -> float:
    try:
        return min(_MAX_WAIT_S, max(0.0, float(reply.headers.get("retry-after", "0"))))
    except ValueError:  # an HTTP date is rare; our own backoff will do
        return 0.0
