"""vLLM as a model that gives numbers: the engine in its pooling mode, and the asking side that renders and tokenizes.

The engine's process and its loop are those of a generating engine. A head is not made up: without one in the checkpoint vLLM
would answer with noise, so such a model is refused.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from synth_ray.ask.engine_start import PLAIN_START, EngineStart
from synth_ray.ask.scores import embedded, labelled, question_of, reads, refuse_other_task, scored, similarity
from synth_ray.ask.teacher import Prompt, TeacherFacts
from synth_ray.ask.vllm import internals
from synth_ray.ask.vllm.chat_template import chat_tokens, local_renderer, renderer_of
from synth_ray.ask.vllm.engine import EngineRequest, VllmEngine, load_tokenizer
from synth_ray.ask.vllm.outputs import RawCompletion
from synth_ray.ask.vllm.teacher import VllmTeacher
from synth_ray.errors import AskFailed, JobError, MissingResource
from synth_ray.job.models import Model
from synth_ray.recipes.contract import Completion
from synth_ray.records import Message, Reason

_HEADS = ("ForSequenceClassification", "ClassificationModel")
"""What an architecture with a head for whole sequences ends in. A head for each token (process rewards) is of another kind."""

_Render = Callable[[list[Message], Mapping[str, Any]], str]
_TRIAL: list[Message] = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello, number 17."}]


def refuse_headless(model: Model, architectures: Sequence[str], *, pools: bool, where: str) -> None:
    """Raise JobError for a model without the head that its task needs. `pools`: its folder says how to make an embedding."""
    if model.task in ("reward", "classify") and not any(name.endswith(_HEADS) for name in architectures):
        raise JobError(
            f"{where}.task: wanted a model with a head for task {model.task} ({', '.join(_HEADS)}), got "
            f"{', '.join(architectures) or 'no architecture'} in '{model.name}'; without one every score is noise"
        )
    if model.task == "embed" and not pools and model.scoring.pooling is None:
        raise JobError(
            f"{where}.scoring.pooling: wanted to know which token states make an embedding, got nothing in '{model.name}' "
            "(no modules.json of sentence-transformers); say last, mean or cls, as its authors do"
        )


def refuse_local_headless(model: Model, *, where: str) -> None:
    """As `refuse_headless`, from the configuration of a local folder."""
    folder = Path(model.model).expanduser()
    if "hf_overrides" in model.engine_args or not (folder / "config.json").is_file():
        return
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    refuse_headless(model, config.get("architectures") or (), pools=(folder / "modules.json").is_file(), where=where)
    labels = list((config.get("id2label") or {}).values())
    if model.task == "classify" and model.scoring.labels and labels and len(labels) != len(model.scoring.labels):
        raise JobError(
            f"{where}.scoring.labels: wanted {len(labels)} names, one for each output of '{model.name}', got "
            f"{len(model.scoring.labels)}; leave them out to take its own"
        )


def refuse_unfit_folder(model: Model, *, where: str) -> None:
    """What the files of a local folder tell of head and template; of any other model the engine tells when it opens."""
    refuse_local_headless(model, where=where)
    render = local_renderer(model) if model.chat else None
    if render is not None:
        refuse_unfit_template(render, model, where=where)


def refuse_unfit_template(render: _Render, model: Model, *, where: str) -> None:
    """Raise MissingResource where a conversation is to be rated and the model's template does not render an answer."""
    if model.task == "embed" or reads(model) != "conversation" or not model.chat:
        return
    try:
        rendered = render(_TRIAL, _variables(model))
    except Exception as error:  # a template raises what it likes
        rendered = type(error).__name__
    if _TRIAL[1]["content"] not in rendered:
        raise MissingResource(
            f"{where}.chat: wanted a chat template that takes a question and its answer, got none in '{model.name}'; say "
            "scoring: {reads: answer} for a model that reads plain text"
        )


def _variables(model: Model) -> Mapping[str, Any]:
    return {"add_generation_prompt": False, **model.chat_template_kwargs}


class PoolingEngine(VllmEngine):
    """One engine that gives a row of numbers for each text: logits, probabilities or a vector."""

    def __init__(self, model: Model, adapters: Sequence[str] = (), start: EngineStart = PLAIN_START) -> None:
        self._task = "embed" if model.task == "embed" else "classify"
        own = {"runner": "pooling"} | internals.pooler_arguments(model.scoring.pooling)
        super().__init__(model.model_copy(update={"engine_args": model.engine_args | own}), adapters, start)
        config = self._engine.vllm_config.model_config
        pools = bool(internals.sentence_transformers_pooling(config.model, config.revision))
        refuse_headless(model, config.hf_config.architectures or (), pools=pools, where="models")
        if self._task not in self._engine.get_supported_tasks():
            raise MissingResource(
                f"models.task: wanted a model that vLLM can ask to {self._task}, got '{model.name}', which can "
                f"{', '.join(self._engine.get_supported_tasks())}; name another"
            )

    def facts(self) -> TeacherFacts:
        labels = getattr(self._engine.vllm_config.model_config.hf_config, "id2label", None) or {}
        names = tuple(str(labels[place]) for place in sorted(labels)) if self._model.task == "classify" else ()
        return replace(super().facts(), size=None, labels=names)

    def add_request(self, number: int, ask: EngineRequest) -> None:
        use_activation = self._model.task != "reward"
        parameters = internals.pooling_params(
            self._task, use_activation=use_activation, dimensions=self._model.scoring.dimensions
        )
        try:
            self._engine.add_request(str(number), {"prompt_token_ids": ask.tokens}, parameters)
        except (ValueError, TypeError) as error:
            raise AskFailed(Reason.ENGINE_ERROR, f"refused by the engine: {type(error).__name__}") from None

    def step(self) -> list[tuple[int, list[RawCompletion]]]:
        """One engine step: the texts whose numbers are there, as the `vector` of a completion, by number."""
        began = time.monotonic()
        done = [(int(o.request_id), [_raw(o)]) for o in self._engine.step() if o.finished]
        self._stats.add_step(time.monotonic() - began, [[completion for completion, _ in answers] for _, answers in done])
        return done


def _raw(output: Any) -> RawCompletion:
    numbers = output.outputs.data.float().reshape(-1).tolist()
    return Completion("", "stop", len(output.prompt_token_ids), 0, int(output.num_cached_tokens or 0), vector=numbers), []


class VllmScorer(VllmTeacher):
    """One pooling engine. Rewards and classes are told by label, embeddings at unit length."""

    def open(self) -> TeacherFacts:
        """Raises MissingResource or JobError, besides what the engine raises, for a model that cannot score as the job says."""
        began, where = time.monotonic(), f"models.{self._role}"
        refuse_unfit_folder(self._model, where=where)  # before minutes are spent on starting it
        self._connection, facts, names = self._host.open(self._model, self._adapters)
        self._tokenizer = load_tokenizer(names)
        self._tokenizer.truncation_side = "right"  # vLLM's own default is the left
        self._max_len, self._labels = facts.max_model_len, facts.labels
        try:
            refuse_unfit_template(renderer_of(self._tokenizer), self._model, where=where)
        except JobError:
            self._connection.close()
            self._host.close()
            raise
        for work in (self._send_loop, self._receive_loop):
            threading.Thread(target=work, name=f"engine{work.__name__}", daemon=True).start()
        return replace(facts, start_s=time.monotonic() - began)

    async def answer(self, prompt: Prompt) -> list[Completion]:
        refuse_other_task(self._model, prompt)
        if self._model.task != "embed":
            got = await self._pooled(self._rated_tokens(prompt))
            scores = labelled(self._model, got.vector or [], self._labels)
            return [scored(scores, prompt_tokens=got.prompt_tokens, cached_tokens=got.cached_tokens)]
        one = await self._pooled(self._text_tokens(self._model.scoring.prefix + question_of(prompt)))
        if prompt.kind == "embed":
            return [embedded(one.vector or [], prompt_tokens=one.prompt_tokens)]
        other = await self._pooled(self._text_tokens(self._model.scoring.prefix + prompt.given))
        tokens = (one.prompt_tokens or 0) + (other.prompt_tokens or 0)
        return [similarity(one.vector or [], other.vector or [], prompt_tokens=tokens)]

    async def _pooled(self, tokens: list[int]) -> Completion:
        [(completion, _)] = await self._generate(EngineRequest(tokens, {"n": 1}))
        return completion

    def _rated_tokens(self, prompt: Prompt) -> list[int]:
        """A conversation is cut at its beginning, if at all: the answer is what is rated."""
        if reads(self._model) == "answer":
            return self._text_tokens(prompt.given)
        turns: list[Message] = [*prompt.messages, {"role": "assistant", "content": prompt.given}]
        if not self._model.chat:
            return self._text_tokens("\n".join(turn["content"] for turn in turns))
        with self._lock:
            try:
                tokens = chat_tokens(self._tokenizer, turns, _variables(self._model))
            except (TemplateError, ValueError, TypeError, KeyError) as error:
                kind = type(error).__name__
                raise AskFailed(Reason.ENGINE_ERROR, f"the chat template refuses the rated conversation ({kind})") from None
        self._refuse_unfit(tokens)
        return tokens[-self._max_len :]

    def _text_tokens(self, text: str) -> list[int]:
        with self._lock:
            tokens = list(self._tokenizer.encode(text))
            self._refuse_unfit(tokens)
            cut = len(tokens) > self._max_len  # with the marks that the tokenizer puts around a text
            return list(self._tokenizer.encode(text, truncation=True, max_length=self._max_len)) if cut else tokens

    def _refuse_unfit(self, tokens: list[int]) -> None:
        """Raise AskFailed for a text that is too long and may not be cut, and for one without tokens."""
        if len(tokens) > self._max_len and self._model.scoring.too_long == "fail":
            raise AskFailed(Reason.PROMPT_TOO_LONG, f"{len(tokens)} tokens, the engine takes {self._max_len}")
        if not tokens:
            raise AskFailed(Reason.ENGINE_ERROR, "a text without tokens")
