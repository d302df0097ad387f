"""A model behind an OpenAI-compatible server: chat or plain completions, over one URL or several."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from synth_ray.ask.adaptive_limit import EndpointState
from synth_ray.ask.dialect import LIMITS, Dialect
from synth_ray.ask.endpoint_sender import EndpointSender, RetryLater
from synth_ray.ask.endpoint_start import find_on_servers
from synth_ray.ask.openai_protocol import headers_of, request_body
from synth_ray.ask.openai_replies import answers_in
from synth_ray.ask.scores import refuse_other_task
from synth_ray.ask.scoring_protocol import refuse_without_scores, scoring_body
from synth_ray.ask.served_top_k import prompt_ids_in, refuse_other_server, score, with_top_k
from synth_ray.ask.server_errors import REFUSES_ALL, Meaning, ServerError, failure_of, refusal_of, template_refusal
from synth_ray.ask.server_text import room_in
from synth_ray.ask.server_thinking import flavour_of, refuse_budget, ways_to_switch
from synth_ray.ask.teacher import Load, Prompt, PromptKind, TeacherFacts
from synth_ray.errors import AskFailed, EngineDied, ServiceRefused
from synth_ray.job.models import Model
from synth_ray.recipes.contract import Completion, user
from synth_ray.records import Message, Reason, digest

_FIRST_RETRIES = 64
_WAIT_S, _MAX_WAIT_S = 0.5, 30.0
_EMPTY_RETRIES = 2
"""Times an ask is sent again whose reply is whole but holds no answer: each such reply may have been paid for."""
_LEAST_ROOM = 16
"""Tokens of an answer below which a prompt counts as too long, where the server does not tell how long it is."""
_MOST_CLIPS = 12
_UNKNOWN_MODEL_LEN = 1 << 20
_TRIAL = [user("Say yes.")]
"""Asked where a server does not list its models, or refuses a prompt without a word: a prompt that nobody objects to."""
_TRIAL_TOKENS, _TRIAL_ANSWER = 16, "Yes."


@dataclass(slots=True)
class _OneAsk:
    """A prompt on its way: how often it was tried, and how many tokens its answer may have. `keys` are added to the body; `read`
    finds the answers in a reply.
    """

    prompt: Prompt
    room: int | None = None
    tried: int = 0
    failed: int = 0
    empty: int = 0
    clipped: int = 0
    keys: Mapping[str, Any] = field(default_factory=dict)
    read: Callable[[Any], list[Any]] = answers_in


class EndpointTeacher:
    """Law: an ask is answered, or fails for a reason of its own. A server that refuses every ask (key, credit, model, a parameter
    that the job needs) is ServiceRefused; one that sends no reply for `endpoint.dead_after_s` is a dead engine. Secrets come from
    the environment and appear in no error. A model whose task is not to generate is asked by `scoring_protocol`.
    """

    def __init__(self, model: Model) -> None:
        assert model.endpoint is not None
        self._model, self._endpoint = model, model.endpoint
        self._urls = model.endpoint.urls
        self._flavour = flavour_of(model.endpoint.flavour, "", self._urls[0])
        self._max_len: int | None = None
        self._dialect = Dialect(ways_to_switch(model, self._flavour))
        self._sender: EndpointSender | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._retries = float(_FIRST_RETRIES)
        self._pending = 0
        self._refusal: ServiceRefused | None = None

    # Opening.

    def open(self) -> TeacherFacts:
        """Fetch the model list of every URL; where there is none, ask once. Raises MissingResource where none replies, or where
        the key or the model is not there; ServiceRefused where credit is used up.
        """
        began = time.monotonic()
        model = find_on_servers(self._model, self._headers(), self._trial_body())
        self._flavour = flavour_of(self._endpoint.flavour, model.owned_by, self._urls[0])
        self._dialect.ways = ways_to_switch(self._model, self._flavour)
        refuse_budget(self._model, self._flavour, where="models.teacher")
        self._max_len = model.max_len
        refuse_without_scores(self._model, is_vllm=self._flavour == "vllm")
        return TeacherFacts(
            engine="endpoint",
            model=self._model.model,
            revision=self._model.revision,
            max_running=self._endpoint.concurrency * len(self._urls),
            max_model_len=model.max_len or _UNKNOWN_MODEL_LEN,
            engine_args={"flavour": self._flavour, "urls": len(self._urls)},
            start_s=time.monotonic() - began,
        )

    def _trial_body(self) -> dict[str, Any]:
        if self._model.task != "generate":
            kind: PromptKind = "embed" if self._model.task == "embed" else "rate"
            return scoring_body(self._model, Prompt(_TRIAL, "", kind=kind, given=_TRIAL_ANSWER))
        trial = Prompt(_TRIAL, "", sampling={LIMITS[0]: _TRIAL_TOKENS})
        plain = self._model.model_copy(update={"chat_template_kwargs": {}, "reasoning": None})
        return self._dialect.apply(request_body(plain, trial, flavour=self._flavour))

    def _headers(self) -> dict[str, str]:
        return headers_of("endpoint", self._endpoint.key_env)

    # Asking.

    async def answer(self, prompt: Prompt) -> list[Completion]:
        refuse_other_task(self._model, prompt)
        limiter = self._sender_on_loop().limiter
        if not self._pending:
            limiter.restart_clock()  # nothing was asked meanwhile: silence says nothing
        self._pending += 1
        try:
            if prompt.kind == "score":
                return [await self._score(prompt)]
            answers, k = await self._all_answers(prompt), prompt.sampling.get("top_k_logprobs")
            return [with_top_k(answer, k) for answer in answers] if k else answers
        finally:
            self._pending -= 1

    async def _all_answers(self, prompt: Prompt) -> list[Completion]:
        """As many answers as wanted. Where the server gives fewer, the missing ones are asked for one by one."""
        answers: list[Completion] = []
        while len(answers) < prompt.n:
            missing = prompt.n - len(answers)
            if missing > 1 and self._dialect.asks_one_by_one:
                answers += await self._one_by_one(prompt, len(answers))
                continue
            got = await self._ask(_OneAsk(_part(prompt, len(answers), missing)))
            answers += _alone(got[:missing]) if answers else got[:missing]
            if len(got) < missing:
                self._dialect.ask_one_by_one()
        return answers

    async def _score(self, prompt: Prompt) -> Completion:
        try:
            refuse_other_server(is_vllm=self._flavour == "vllm")
        except ServiceRefused as refusal:
            raise self._stop(refusal) from None

        async def send(messages: list[Message], keys: Mapping[str, Any]) -> Mapping[str, Any]:
            asked = replace(prompt, kind="chat", messages=messages, sampling={LIMITS[0]: 1, "temperature": 0.0})
            [reply] = await self._ask(_OneAsk(asked, keys={**keys, "return_token_ids": True}, read=_with_ids))
            return dict(reply)

        return await score(send, self._model, prompt)

    async def _one_by_one(self, prompt: Prompt, first: int) -> list[Completion]:
        asks = [self._ask(_OneAsk(_part(prompt, place, 1))) for place in range(first, prompt.n)]
        answers: list[Completion] = []
        for place, reply in enumerate(await asyncio.gather(*asks, return_exceptions=True), first):
            if isinstance(reply, BaseException):
                raise reply
            answers += _alone(reply[:1]) if place else reply[:1]
        return answers

    async def _ask(self, ask: _OneAsk) -> list[Any]:
        """The answers to one ask: at least one."""
        sender = self._sender_on_loop()
        while True:
            self._raise_if_refused()
            async with sender.limiter.acquire() as endpoint:
                self._raise_if_refused()
                body = self._body(ask)
                got = await sender.send(endpoint, body, ask.read)
                retry = await self._settle(got, endpoint, body, ask) if isinstance(got, ServerError) else got
            if isinstance(retry, list):
                if ask.read is answers_in:
                    self._dialect.heed_thoughts(self._model, retry)
                self._retries += self._endpoint.retry_share
                return retry
            if retry is not None:
                await self._pause(retry, ask)

    async def _settle(
        self, error: ServerError, endpoint: EndpointState, sent: Mapping[str, Any], ask: _OneAsk
    ) -> RetryLater | None:
        """What to do about an error: None to send the adapted ask again at once. Raises AskFailed or ServiceRefused."""
        if error.meaning in REFUSES_ALL:
            raise self._stop(refusal_of(error, key_env=self._endpoint.key_env))
        if error.meaning is Meaning.FORBIDDEN:
            return await self._settle_forbidden(error, endpoint)
        if error.meaning is Meaning.PARAMETER and error.parameter in sent:
            try:
                self._dialect.adapt(error, sent)
            except ServiceRefused as refusal:
                raise self._stop(refusal) from None
            if self._body(ask) == sent:
                raise failure_of(error)
            return None
        if error.meaning is Meaning.TOO_LONG and self._model.task == "generate":
            _clip(ask, error, sent)
            return None
        if error.meaning is Meaning.TEMPLATE and not self._sender_on_loop().has_answered:
            raise self._stop(template_refusal(error))
        raise failure_of(error)

    async def _settle_forbidden(self, error: ServerError, endpoint: EndpointState) -> RetryLater:
        """A 403 that gives no reason is this prompt's if the server answers another, and everybody's if it refuses that too."""
        refuses = await self._sender_on_loop().refuses(endpoint, self._trial_body())
        if refuses is None:
            return RetryLater()
        if refuses:
            raise self._stop(refusal_of(error, key_env=self._endpoint.key_env))
        raise AskFailed(Reason.MODERATED, f"HTTP {error.status}: the server refuses this prompt and answers others")

    async def _pause(self, retry: RetryLater, ask: _OneAsk) -> None:
        """Wait before the next try. Raises AskFailed after too many, EngineDied where nothing answers any more."""
        self._refuse_silence()
        ask.tried += 1
        ask.empty += retry.is_empty
        if retry.uses_retry:
            ask.failed += 1
            self._retries -= 1
        if ask.failed > self._endpoint.retries or self._retries < 0 or ask.empty > _EMPTY_RETRIES:
            raise AskFailed(Reason.ENGINE_ERROR, f"no answer in {ask.tried} {'replies' if retry.is_empty else 'tries'}")
        if not retry.is_told_wait:
            await asyncio.sleep(min(_MAX_WAIT_S, _WAIT_S * 2 ** min(ask.tried - 1, 8)) * (0.5 + random.random()))

    def _body(self, ask: _OneAsk) -> dict[str, Any]:
        if self._model.task != "generate":
            return scoring_body(self._model, ask.prompt)
        body = request_body(self._model, ask.prompt, flavour=self._flavour, way=self._dialect.way) | dict(ask.keys)
        limits = [limit for limit in (ask.room, self._max_len - 1 if self._max_len else None) if limit]
        if limits and LIMITS[0] in body:
            body[LIMITS[0]] = min(body[LIMITS[0]], *limits)
        return self._dialect.apply(body)

    def _sender_on_loop(self) -> EndpointSender:
        """Connections belong to an event loop; make new ones for another loop."""
        loop = asyncio.get_running_loop()
        if self._sender is None or self._loop is not loop:
            self._loop, self._pending = loop, 0
            self._sender = EndpointSender(self._model, self._headers())
        return self._sender

    def _raise_if_refused(self) -> None:
        if self._refusal is not None:
            raise self._refusal

    def _refuse_silence(self) -> None:
        sender = self._sender_on_loop()
        limiter, limit_s = sender.limiter, sender.dead_after_s
        if limiter.silent_s <= limit_s:
            return
        if limiter.is_only_busy:
            busy = f"models.endpoint: wanted an answer, got HTTP 429 alone from {', '.join(self._urls[:3])} for {limit_s:g} s"
            raise self._stop(ServiceRefused(f"{busy}; wait, or have the rate limit raised"))
        raise EngineDied(f"endpoint: wanted an answer, got none from {len(self._urls)} servers in {limit_s:g} s")

    def _stop(self, refusal: ServiceRefused) -> ServiceRefused:
        """From now on every ask gets this refusal, and nothing more is sent."""
        self._refusal = self._refusal or refusal
        return self._refusal

    def load(self) -> Load:
        limiter = self._sender.limiter if self._sender is not None else None
        running, waiting = (limiter.running, limiter.waiting) if limiter is not None else (0, 0)
        return Load(running=running, waiting=waiting, notes=tuple(self._dialect.notes))

    def close(self) -> None:
        pass  # connections are closed with the event loop that owns them


def _with_ids(reply: Any) -> list[Any]:
    return [reply] if isinstance(reply, dict) and prompt_ids_in(reply) is not None else []


def _part(prompt: Prompt, place: int, n: int) -> Prompt:
    """The ask for `n` of a prompt's answers, from `place` on. All but the first have a key, and with it a seed, of their own."""
    return replace(prompt, n=n, key=digest(prompt.key, place) if place else prompt.key)


def _alone(answers: list[Completion]) -> list[Completion]:
    """Answers that were asked for after others: their prompt was paid for again."""
    return [replace(answer, asked_alone=not place) for place, answer in enumerate(answers)]


def _clip(ask: _OneAsk, error: ServerError, sent: Mapping[str, Any]) -> None:
    """Ask for no more tokens than there is room. Raises AskFailed(prompt_too_long) where there is none."""
    asked = next((int(sent[name]) for name in LIMITS if name in sent), 0)
    room = room_in(error.text, asked) if error.status not in (413, 414) else 0
    if room is None:
        room = asked // 2 if asked >= 2 * _LEAST_ROOM else 0
    ask.clipped += 1
    if not room or ask.clipped > _MOST_CLIPS:
        raise failure_of(error)
    ask.room = room
