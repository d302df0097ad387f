"""vLLM as a teacher: prompts become tokens here, and are answered wherever their engine is."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import Any

from synth_ray.ask.engine_host import EngineHost, OwnProcess
from synth_ray.ask.engine_loop import Item
from synth_ray.ask.engine_outputs import Said
from synth_ray.ask.teacher import Load, Prompt, TeacherFacts
from synth_ray.ask.vllm_engine import Ask, likely_names, spelt, tokenizer_of
from synth_ray.ask.waiters import Waiters
from synth_ray.errors import AskFailed, EngineDead
from synth_ray.job.models import Model
from synth_ray.recipes.contract import Completion
from synth_ray.records import Message, Reason

_MAX_TOKENS = 512  # where neither the recipe nor the job says


class VllmTeacher:
    """One engine. When it dies, every ask that waits and every later one raises EngineDead."""

    def __init__(self, model: Model, *, adapters: Sequence[str] = (), host: EngineHost | None = None) -> None:
        self._model, self._adapters = model, list(adapters)
        self._host = host or OwnProcess()
        self._waiters = Waiters()
        self._outbox: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._numbers = count()  # several event loops may ask
        self._sent = self._taken = 0
        self._load = Load()

    def open(self) -> TeacherFacts:
        began = time.monotonic()
        with ThreadPoolExecutor(1) as meanwhile:
            likely = likely_names(self._model)
            loading = meanwhile.submit(tokenizer_of, likely)
            self._line, facts, names = self._host.open(self._model, self._adapters)
        known = names == likely and loading.exception() is None
        self._tokenizer = loading.result() if known else tokenizer_of(names)
        self._max_len = facts.max_model_len
        for work in (self._send, self._listen):
            threading.Thread(target=work, name=f"engine{work.__name__}", daemon=True).start()
        return replace(facts, start_s=time.monotonic() - began)

    async def answer(self, prompt: Prompt) -> list[Completion]:
        tokens = self._tokens(prompt.messages)
        room = self._max_len - len(tokens)
        if room <= 0:
            raise AskFailed(Reason.PROMPT_TOO_LONG, f"{len(tokens)} tokens, the engine takes {self._max_len}")
        ask = Ask(tokens, _sampling(prompt, room), prompt.constraint, prompt.adapter)
        said = await self._said(ask)
        if ask.is_spelt_by_engine:
            return [completion for completion, _ in said]
        with self._lock:
            return [spelt(self._tokenizer, ask, one) for one in said]

    async def _said(self, ask: Ask) -> list[Said]:
        number = next(self._numbers)
        answer = self._waiters.add(number)
        self._post(number, ask)
        try:
            said: list[Said] = await answer
        except asyncio.CancelledError:
            if self._waiters.forget(number) is not None:
                self._post(number, None)
            raise
        return said

    def _tokens(self, messages: list[Message]) -> list[int]:
        with self._lock:  # a tokenizer is no two threads' at once
            if not self._model.chat:
                return list(self._tokenizer.encode("\n".join(m["content"] for m in messages)))
            return chat_tokens(self._tokenizer, messages, self._model.chat_template_kwargs)

    def _post(self, number: int, ask: Ask | None) -> None:
        with self._lock:
            self._sent += ask.n if ask is not None else 0
        self._outbox.put((number, ask))

    def load(self) -> Load:
        """As the engine last told; what is still on its way to it waits, too."""
        return replace(self._load, waiting=self._load.waiting + self._sent - self._taken)

    def close(self) -> None:
        self._outbox.put(None)
        self._host.close()

    # Threads of their own, for a line can be full and can be silent.

    def _send(self) -> None:
        items: list[Item] = []
        try:
            while None not in items:
                items = [self._outbox.get()]
                with suppress(queue.Empty):
                    while True:
                        items.append(self._outbox.get_nowait())
                self._line.send(items)
        except OSError:
            pass  # who listens on a broken line tells everyone who waits
        except Exception as error:  # what a recipe asked with cannot travel: better a dead engine than one that is never asked
            self._waiters.bury(f"an ask could not be sent to the engine: {type(error).__name__}")

    def _listen(self) -> None:
        death = ""
        try:
            while not death:
                told = self._line.recv()
                if isinstance(told, EngineDead):
                    death = str(told)
                else:
                    self._load, self._taken, ended = told
                    self._waiters.hand_over(ended)
        except (EOFError, OSError):
            death = f"the engine is gone: {self._host.ended()}"
        finally:
            self._waiters.bury(death or "what the engine said could not be read")


def chat_tokens(tokenizer: Any, messages: list[Message], template_kwargs: Mapping[str, Any]) -> list[int]:
    """Messages as the model's chat template renders them. `template_kwargs` win over the template's own variables."""
    variables = {"add_generation_prompt": True, **template_kwargs}
    text = tokenizer.apply_chat_template(messages, tokenize=False, **variables)
    return list(tokenizer.encode(text, add_special_tokens=False))


def _sampling(prompt: Prompt, room: int) -> dict[str, Any]:
    keys = dict(prompt.sampling)
    seeded = keys.pop("per_request_seed", False)
    keys["max_tokens"] = min(int(keys.get("max_tokens", _MAX_TOKENS)), room)
    keys["stop"] = keys.get("stop") or None
    return keys | {"n": prompt.n, "seed": int(prompt.key[:8], 16) if seeded else None}
