"""vLLM as a teacher: prompts are tokenized in this process and answered by an engine behind a connection."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import Any

from jinja2 import TemplateError

from synth_ray.ask.teacher import PLAIN_USE, Load, Prompt, TeacherFacts, TemplateUse
from synth_ray.ask.vllm.chat_template import Render, chat_tokens, inspect_template, local_renderer, renderer_of
from synth_ray.ask.vllm.engine import EngineRequest, detokenize, guess_tokenizer_args, load_tokenizer
from synth_ray.ask.vllm.host import EngineHost, ProcessHost
from synth_ray.ask.vllm.loop import Command
from synth_ray.ask.vllm.outputs import RawCompletion
from synth_ray.ask.vllm.pending_replies import PendingReplies
from synth_ray.ask.vllm.scoring import given_answer, score_sampling
from synth_ray.errors import AskFailed, EngineDied, JobError
from synth_ray.job.models import Model
from synth_ray.job.tokenizer import identity_of
from synth_ray.recipes.contract import Completion
from synth_ray.records import Message, Reason

_MAX_TOKENS = 512  # used where neither the recipe nor the job sets max_tokens


class VllmTeacher:
    """One engine. When it dies, every pending and every later ask raises EngineDied."""

    def __init__(
        self,
        model: Model,
        *,
        adapters: Sequence[str] = (),
        host: EngineHost | None = None,
        role: str = "teacher",
        use: TemplateUse = PLAIN_USE,
    ) -> None:
        """`role` is the job's role of this model, for messages; `use` is how the job asks it."""
        self._model, self._adapters = model, list(adapters)
        self._role, self._use = role, use
        self._host = host or ProcessHost()
        self._replies = PendingReplies()
        self._outbox: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._numbers = count()  # several event loops may ask
        self._sent_count = self._received_count = 0
        self._load = Load()

    def open(self) -> TeacherFacts:
        """Raises MissingResource or JobError, besides what the engine raises, for a chat template that cannot serve the job."""
        began = time.monotonic()
        self._inspect_template(local_renderer(self._model))  # before minutes are spent on a model that cannot serve the job
        with ThreadPoolExecutor(1) as meanwhile:
            likely = guess_tokenizer_args(self._model)
            loading = meanwhile.submit(load_tokenizer, likely)
            self._connection, facts, names = self._host.open(self._model, self._adapters)
        known = names == likely and loading.exception() is None
        self._tokenizer = loading.result() if known else load_tokenizer(names)
        self._max_len = facts.max_model_len
        try:
            notes = self._inspect_template(renderer_of(self._tokenizer))
        except JobError:
            self._connection.close()
            self._host.close()
            raise
        for work in (self._send_loop, self._receive_loop):
            threading.Thread(target=work, name=f"engine{work.__name__}", daemon=True).start()
        identity = identity_of(self._tokenizer.get_vocab())
        return replace(facts, start_s=time.monotonic() - began, notes=notes, tokenizer=identity)

    def _inspect_template(self, render: Render | None) -> list[str]:
        if render is None or not self._model.chat:
            return []
        return inspect_template(render, self._model, where=f"models.{self._role}", use=self._use)

    async def answer(self, prompt: Prompt) -> list[Completion]:
        if prompt.kind == "score":
            return [await self._score(prompt)]
        tokens = self._tokens(prompt.messages)
        room = self._max_len - len(tokens)
        if room <= 0:
            raise AskFailed(Reason.PROMPT_TOO_LONG, f"{len(tokens)} tokens, the engine takes {self._max_len}")
        ask = EngineRequest(tokens, _sampling(prompt, room), prompt.constraint, prompt.adapter)
        answers = await self._generate(ask)
        if ask.engine_detokenizes:
            return [completion for completion, _ in answers]
        with self._lock:
            return [detokenize(self._tokenizer, ask, raw) for raw in answers]

    async def _score(self, prompt: Prompt) -> Completion:
        with self._lock:
            tokens, start = given_answer(self._tokenizer, prompt, self._model)
        if len(tokens) >= self._max_len:
            raise AskFailed(Reason.PROMPT_TOO_LONG, f"{len(tokens)} tokens with the answer, the engine takes {self._max_len}")
        ask = EngineRequest(tokens, score_sampling(prompt), adapter=prompt.adapter, answer_start=start)
        [(scored, _)] = await self._generate(ask)
        return replace(scored, text=prompt.given)

    async def _generate(self, ask: EngineRequest) -> list[RawCompletion]:
        number = next(self._numbers)
        answer = self._replies.add(number)
        self._enqueue(number, ask)
        try:
            answers: list[RawCompletion] = await answer
        except asyncio.CancelledError:
            if self._replies.forget(number) is not None:
                self._enqueue(number, None)
            raise
        return answers

    def _tokens(self, messages: list[Message]) -> list[int]:
        with self._lock:  # a tokenizer must not be used by two threads at once
            if not self._model.chat:
                return list(self._tokenizer.encode("\n".join(m["content"] for m in messages)))
            try:
                return chat_tokens(self._tokenizer, messages, self._model.chat_template_kwargs)
            except (TemplateError, ValueError, TypeError, KeyError) as error:
                roles = ", ".join(dict.fromkeys(message["role"] for message in messages))
                raise AskFailed(
                    Reason.ENGINE_ERROR, f"the chat template refuses messages of {roles} ({type(error).__name__})"
                ) from None

    def _enqueue(self, number: int, ask: EngineRequest | None) -> None:
        with self._lock:
            self._sent_count += ask.n if ask is not None else 0
        self._outbox.put((number, ask))

    def load(self) -> Load:
        """The engine's last report; requests still on their way to it count as waiting."""
        return replace(self._load, waiting=self._load.waiting + self._sent_count - self._received_count)

    def close(self) -> None:
        self._outbox.put(None)
        self._host.close()

    # Sending and receiving have a thread each: a pipe blocks its sender when full and its receiver when empty.

    def _send_loop(self) -> None:
        items: list[Command] = []
        try:
            while None not in items:
                items = [self._outbox.get()]
                with suppress(queue.Empty):
                    while True:
                        items.append(self._outbox.get_nowait())
                self._connection.send(items)
        except OSError:
            pass  # the receiving thread reports a broken connection to all pending asks
        except Exception as error:  # a request that cannot be pickled: better a dead engine than an ask that is never sent
            self._replies.fail_all(f"an ask could not be sent to the engine: {type(error).__name__}")

    def _receive_loop(self) -> None:
        death = ""
        try:
            while not death:
                update = self._connection.recv()
                if isinstance(update, EngineDied):
                    death = str(update)
                else:
                    self._load, self._received_count, ended = update
                    self._replies.resolve(ended)
        except (EOFError, OSError):
            death = f"the engine is gone: {self._host.wait_exit_reason()}"
        finally:
            self._replies.fail_all(death or "the engine's reply could not be read")


def _sampling(prompt: Prompt, room: int) -> dict[str, Any]:
    keys = dict(prompt.sampling)
    seeded = keys.pop("per_request_seed", False)
    keys["max_tokens"] = min(int(keys.get("max_tokens", _MAX_TOKENS)), room)
    keys["stop"] = keys.get("stop") or None
    if k := keys.pop("top_k_logprobs", 0):
        keys |= {"logprobs": k, "flat_logprobs": True}
    return keys | {"n": prompt.n, "seed": int(prompt.key[:8], 16) if seeded else None}
