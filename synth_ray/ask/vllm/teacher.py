"""vLLM as a teacher: prompts are tokenized in this process and answered by an engine behind a connection."""

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

from jinja2 import TemplateError

from synth_ray.ask.teacher import PLAIN_USE, Load, Prompt, TeacherFacts, TemplateUse
from synth_ray.ask.vllm.chat_template import inspect_template, local_renderer, renderer_of
from synth_ray.ask.vllm.engine import EngineRequest, detokenize, guess_tokenizer_args, load_parser, load_tokenizer
from synth_ray.ask.vllm.host import EngineHost, ProcessHost
from synth_ray.ask.vllm.loop import Command
from synth_ray.ask.vllm.outputs import RawCompletion
from synth_ray.ask.vllm.parser_choice import engine_parser, is_parser_named, refuse_bad_reasoning
from synth_ray.ask.vllm.pending_replies import PendingReplies
from synth_ray.ask.vllm.role_thinking import NO_TEMPLATE, RenderedPrompt, RoleThinking
from synth_ray.ask.vllm.scoring import given_answer, score_sampling
from synth_ray.ask.vllm.template_thinking import Render, template_thinking
from synth_ray.ask.vllm.tool_calls import CallReader
from synth_ray.ask.vllm.user_turn import refuse_without_user_turn, stop_of, user_turn
from synth_ray.errors import AskFailed, EngineDied, JobError
from synth_ray.job.models import Model, is_teacher
from synth_ray.job.tokenizer import identity_of
from synth_ray.recipes.contract import Completion
from synth_ray.records import Reason

NO_MODELS: Mapping[str, Model] = {}
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
        others: Mapping[str, Model] = NO_MODELS,
        use: TemplateUse = PLAIN_USE,
    ) -> None:
        """`role` is the job's role of this model; `others` are the models of further roles that share the engine, and may think
        in another way; `use` is how the job asks its teachers.
        """
        self._model, self._adapters = model, list(adapters)
        self._role, self._roles, self._use = role, {role: model, **others}, use
        self._thinking: dict[str, RoleThinking] = {}
        self._host = host or ProcessHost()
        self._replies = PendingReplies()
        self._outbox: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._numbers = count()  # several event loops may ask
        self._sent_count = self._received_count = 0
        self._load = Load()
        self._guides_thoughts = False

    def open(self) -> TeacherFacts:
        """Raises MissingResource or JobError, besides what the engine raises, for a chat template that cannot serve the job."""
        began = time.monotonic()
        render = local_renderer(self._model)
        self._inspect(render)  # before minutes are spent on a model that cannot serve the job
        parser = engine_parser(self._model, render)
        with ThreadPoolExecutor(1) as meanwhile:
            likely = guess_tokenizer_args(self._model)
            loading = meanwhile.submit(load_tokenizer, likely)
            self._connection, facts, names = self._host.open(_with_parser(self._model, parser), self._adapters)
        known = names == likely and loading.exception() is None
        self._tokenizer = loading.result() if known else load_tokenizer(names)
        self._max_len = facts.max_model_len
        try:
            notes = self._inspect(renderer_of(self._tokenizer))
            self._thinking = {role: self._thinking_of(role) for role in self._roles}
            self._guides_thoughts = bool(parser)
            self._calls = CallReader(self._tokenizer, self._model.tool_parser, where=f"models.{self._role}")
        except JobError:
            self._connection.close()
            self._host.close()
            raise
        for work in (self._send_loop, self._receive_loop):
            threading.Thread(target=work, name=f"engine{work.__name__}", daemon=True).start()
        identity = identity_of(self._tokenizer.get_vocab())
        return replace(facts, start_s=time.monotonic() - began, notes=notes, tokenizer=identity)

    def _inspect(self, render: Render | None) -> list[str]:
        notes: list[str] = []
        for role, model in self._roles.items():
            refuse_bad_reasoning(model, render, where=f"models.{role}")
            if self._use.tools and not model.chat and is_teacher(role):
                raise JobError(
                    f"models.{role}.chat: wanted a chat template to show tools, got chat: false; say recipe.call: guided"
                )
            if render is not None and model.chat and self._use.instructs and is_teacher(role):
                refuse_without_user_turn(render, model, where=f"models.{role}")
            if render is not None and model.chat:
                use = self._use if is_teacher(role) else PLAIN_USE
                notes += inspect_template(render, model, where=f"models.{role}", use=use)
        return notes

    def _thinking_of(self, role: str) -> RoleThinking:
        model = self._roles[role]
        template = NO_TEMPLATE
        if model.chat:
            template = template_thinking(renderer_of(self._tokenizer), model, where=f"models.{role}")
        return RoleThinking(model, self._tokenizer, template, self._parser_of(model, template.parser or model.reasoning_parser))

    def _parser_of(self, model: Model, name: str) -> Any:
        """The parser; None where it was only guessed from the model and does not fit the tokenizer."""
        try:
            return load_parser(self._tokenizer, name) if name else None
        except JobError:
            if is_parser_named(model):
                raise
            return None

    async def answer(self, prompt: Prompt) -> list[Completion]:
        if prompt.kind == "score":
            return [await self._score(prompt)]
        thinking = self._thinking[prompt.role or self._role]
        if prompt.kind == "instruct":
            prompt, rendered = self._user_turn(prompt)
        else:
            rendered = self._render(prompt, thinking)
        if prompt.constraint is not None and not self._guides_thoughts:
            rendered = rendered.without_thought()
        room = self._max_len - len(rendered.tokens)
        if room <= 0:
            raise AskFailed(Reason.PROMPT_TOO_LONG, f"{len(rendered.tokens)} tokens, the engine takes {self._max_len}")
        keys = _sampling(prompt)
        keys |= thinking.sampling(rendered, keys["max_tokens"])
        keys |= {"max_tokens": min(keys["max_tokens"], room), **self._calls.sampling(prompt.tools)}
        ended = not rendered.thinks if prompt.constraint is not None and self._guides_thoughts else None
        ask = EngineRequest(rendered.tokens, keys, prompt.constraint, prompt.adapter, ended)
        answers = await self._generate(ask)
        with self._lock:
            whole = answers if ask.engine_detokenizes else [(detokenize(self._tokenizer, ask, raw), raw[1]) for raw in answers]
            apart = [thinking.take_apart(answer, tokens, prompt=rendered, sampling=keys) for answer, tokens in whole]
            return [replace(answer, text=self._calls.read(answer.text, prompt.tools)) for answer in apart]

    async def _score(self, prompt: Prompt) -> Completion:
        with self._lock:
            role = prompt.role or self._role
            tokens, start = given_answer(self._tokenizer, prompt, self._roles[role], self._thinking[role].template)
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

    def _render(self, prompt: Prompt, thinking: RoleThinking) -> RenderedPrompt:
        with self._lock:  # a tokenizer must not be used by two threads at once
            try:
                return thinking.render(prompt.messages, prompt.tools)
            except (TemplateError, ValueError, TypeError, KeyError) as error:
                roles = ", ".join(dict.fromkeys(message["role"] for message in prompt.messages))
                raise AskFailed(
                    Reason.ENGINE_ERROR, f"the chat template refuses messages of {roles} ({type(error).__name__})"
                ) from None

    def _user_turn(self, prompt: Prompt) -> tuple[Prompt, RenderedPrompt]:
        """The prompt with the sampling that ends a user's turn, and the tokens that open it."""
        with self._lock:
            try:
                turn = user_turn(renderer_of(self._tokenizer), self._roles[prompt.role or self._role], prompt.messages)
            except Exception as error:  # a template raises what it likes
                raise AskFailed(Reason.ENGINE_ERROR, f"the chat template opens no user's turn ({type(error).__name__})") from None
            opening = RenderedPrompt(list(self._tokenizer.encode(turn.opening, add_special_tokens=False)))
            ends = stop_of(self._tokenizer, turn.closing)
        stop = [*(prompt.sampling.get("stop") or []), *ends.get("stop", [])]
        return replace(prompt, sampling={**prompt.sampling, **ends, "stop": stop}), opening

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


def _with_parser(model: Model, parser: str) -> Model:
    """The model with the parser among its engine's arguments."""
    return model.model_copy(update={"engine_args": {**model.engine_args, "reasoning_parser": parser}}) if parser else model


def _sampling(prompt: Prompt) -> dict[str, Any]:
    keys = dict(prompt.sampling)
    seeded = keys.pop("per_request_seed", False)
    keys["max_tokens"] = int(keys.get("max_tokens", _MAX_TOKENS))
    keys["stop"] = keys.get("stop") or None
    if k := keys.pop("top_k_logprobs", 0):
        keys |= {"logprobs": k, "flat_logprobs": True}
    return keys | {"n": prompt.n, "seed": int(prompt.key[:8], 16) if seeded else None}
