"""A teacher that answers, delays, fails and dies as its script says; the same prompt key always gets the same answer.

It is part of the product: scale runs and fault drills use it where a model would only cost time.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from synth_ray.ask.scripted_scores import scripted_score
from synth_ray.ask.scripted_top_k import VOCABULARY, id_of, logprob_of, scripted_top_k, words_of
from synth_ray.ask.teacher import Load, Prompt, TeacherFacts
from synth_ray.ask.top_k import said_logprobs
from synth_ray.errors import AskFailed, EngineDied, ServiceRefused
from synth_ray.job.models import Model
from synth_ray.job.script import Script
from synth_ray.recipes.contract import Completion
from synth_ray.recipes.templates import compile_template
from synth_ray.records import Reason, digest

_SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "er", "il", "on", "us")]
_REPEAT_POOL = 64


@lru_cache(maxsize=8)
def _vocabulary(words: int) -> tuple[str, ...]:
    draw = random.Random(words)
    words_ = dict.fromkeys("".join(draw.choices(_SYLLABLES, k=draw.randint(2, 4))) for _ in range(2 * words))
    return tuple(words_)[:words]


class ScriptedTeacher:
    """Its behaviour is in `job.models.Script`. Needs no GPU, no model and no network."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._script: Script = model.script
        self._answered = 0
        self._running = 0
        self._waiting = 0
        self._slots = asyncio.Semaphore(self._script.concurrency)
        self._dead = False

    def open(self) -> TeacherFacts:
        return TeacherFacts(
            engine="scripted",
            model=self._model.model or "scripted",
            revision=self._model.revision,
            max_running=self._script.concurrency,
            max_model_len=1 << 20,
            engine_args=self._script.facts(),
            tokenizer={"digest": digest("scripted"), "vocabulary": VOCABULARY},
        )

    async def answer(self, prompt: Prompt) -> list[Completion]:
        if self._dead:
            raise EngineDied("scripted teacher: dead, as script.die_after says")
        if self._script.latency_s > 0:
            await self._take_time(prompt.key)
        self._count_answer()
        if self._script.silent_after is not None and self._answered > self._script.silent_after:
            self._running += 1
            await asyncio.Event().wait()
        self._die_if_poisoned(prompt)
        draw = random.Random(prompt.key)
        if draw.random() < self._script.fail_share:
            raise AskFailed(Reason.ENGINE_ERROR, "told to by script.fail_share")
        if prompt.kind == "score":
            return [_scored(prompt)]
        if self._model.task != "generate" or prompt.kind in ("rate", "embed"):
            return [scripted_score(self._model, prompt)]
        return [self._completion(prompt, draw) for _ in range(prompt.n)]

    async def _take_time(self, key: str) -> None:
        slow = random.Random(key + "slow").random() < self._script.slow_share
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        self._running += 1
        try:
            await asyncio.sleep(self._script.latency_s * (self._script.slow_factor if slow else 1.0))
        finally:
            self._running -= 1
            self._slots.release()

    def _count_answer(self) -> None:
        self._answered += 1
        if self._script.refuse_after is not None and self._answered > self._script.refuse_after:
            raise ServiceRefused(
                f"scripted teacher: refuses after {self._script.refuse_after} answers, as script.refuse_after says"
            )
        if self._script.die_after is not None and self._answered > self._script.die_after:
            self._dead = True
            raise EngineDied(f"scripted teacher: died after {self._script.die_after} answers, as script.die_after says")

    def _die_if_poisoned(self, prompt: Prompt) -> None:
        if self._script.poison and any(self._script.poison in m["content"] for m in prompt.messages):
            self._dead = True
            raise EngineDied("scripted teacher: died of a prompt, as script.poison says")

    def _completion(self, prompt: Prompt, draw: random.Random) -> Completion:
        if self._script.thought and (self._model.reasoning is None or self._model.reasoning.think is not False):
            return self._thought_first(prompt, draw)
        return self._answer(prompt, draw, int(prompt.sampling.get("max_tokens", 1 << 20)))

    def _thought_first(self, prompt: Prompt, draw: random.Random) -> Completion:
        """An answer behind a thought, which is drawn apart: an answer is the same with and without it."""
        answer = self._answer(prompt, draw, int(prompt.sampling.get("max_tokens", 1 << 20)))
        apart = random.Random(f"{prompt.key} {answer.text}")
        budget = self._model.reasoning.budget if self._model.reasoning is not None else None
        thought = self._sentence(apart, self._script.thought).split(" ")[:budget]
        if apart.random() < self._script.thought_cut_share:
            thought = thought[: max(1, len(thought) // 2)]
            answer = replace(answer, text="", finish_reason="length", completion_tokens=0, logprobs=None)
        tokens = len(thought) + (answer.completion_tokens or 0)
        return replace(answer, reasoning=" ".join(thought), reasoning_tokens=len(thought), completion_tokens=tokens)

    def _answer(self, prompt: Prompt, draw: random.Random, max_tokens: int) -> Completion:
        text, finish = self._text(prompt, draw), "stop"
        tokens = text.split(" ") if text else []
        if draw.random() < self._script.truncate_share or len(tokens) > max_tokens:
            tokens, finish = tokens[: max(1, min(max_tokens, len(tokens) // 2))], "length"
            text = " ".join(tokens)
        prompt_tokens = sum(len(m["content"]) for m in prompt.messages) // 5 + 1
        logprobs = self._logprobs(tokens, draw, prompt.sampling.get("logprobs"))
        k = prompt.sampling.get("top_k_logprobs", 0)
        top_k = scripted_top_k(prompt.messages, tokens, k) if k and tokens else None
        return Completion(text, finish, prompt_tokens, len(tokens), logprobs=logprobs, top_k=top_k)

    def _logprobs(self, tokens: list[str], draw: random.Random, top: int | None) -> list[dict[str, Any]] | None:
        if top is None:
            return None
        texts = [" " * (place > 0) + token for place, token in enumerate(tokens)]
        likely = [[{"token": token, "id": None, "logprob": -draw.random()}] for token in texts]
        return [candidates[0] | {"top": candidates * bool(top)} for candidates in likely]

    def _text(self, prompt: Prompt, draw: random.Random) -> str:
        if draw.random() < self._script.empty_share:
            return ""
        if prompt.constraint is not None and prompt.constraint.choices:
            return draw.choice(prompt.constraint.choices)
        if prompt.constraint is not None and prompt.constraint.json_schema is not None:
            return json.dumps(self._instance(prompt.constraint.json_schema, draw), separators=(",", ":"))
        if draw.random() < self._script.repeat_share:
            draw = random.Random(draw.randrange(_REPEAT_POOL))
        if self._script.answers:
            return self._templated(prompt, draw)
        return self._sentence(draw, self._script.words)

    def _templated(self, prompt: Prompt, draw: random.Random) -> str:
        template = compile_template(draw.choice(self._script.answers))
        words = self._sentence(draw, self._script.words)
        last = prompt.messages[-1]["content"]
        return template.render(prompt=last, messages=prompt.messages, words=words, number=draw.randrange(1000))

    def _sentence(self, draw: random.Random, words: int) -> str:
        return " ".join(draw.choices(_vocabulary(self._script.vocabulary), k=words))

    def _instance(self, schema: Mapping[str, Any], draw: random.Random) -> Any:
        """A random value of the schema's type: as much of JSON Schema as the flat objects of the recipes need."""
        if "enum" in schema:
            return draw.choice(list(schema["enum"]))
        kind = schema.get("type", "object")
        if kind == "object":
            return {name: self._instance(part, draw) for name, part in schema.get("properties", {}).items()}
        if kind == "array":
            return [self._instance(schema.get("items", {"type": "string"}), draw) for _ in range(2)]
        if kind in ("integer", "number"):
            return draw.randint(int(schema.get("minimum", 0)), int(schema.get("maximum", 9)))
        return draw.random() < 0.5 if kind == "boolean" else self._sentence(draw, 5)

    def load(self) -> Load:
        return Load(running=self._running, waiting=self._waiting)

    def close(self) -> None:
        self._dead = True


def _scored(prompt: Prompt) -> Completion:
    words, k = prompt.given.split(" "), int(prompt.sampling.get("top_k_logprobs") or 0)
    said = said_logprobs([id_of(word) for word in words], [logprob_of(word) for word in words])
    tokens = len(words_of(prompt.messages)) + len(words)
    return Completion(
        prompt.given, "stop", tokens, 1, logprobs=said, top_k=scripted_top_k(prompt.messages, words, k) if k else None
    )
