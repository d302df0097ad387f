"""The likeliest tokens at every position of an answer, packed; and which models of a job have to be ready to tell them.

Law: every position has exactly k entries, the likeliest first, whether or not the answer's own token is among them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from synth_ray.ask.teacher import TeacherFacts
from synth_ray.errors import AskFailed, JobError
from synth_ray.job.document import Job
from synth_ray.job.models import Model, is_teacher
from synth_ray.recipes.catalogue import options_of, recipe_of
from synth_ray.records import Reason, TopK

_VLLM_MAX_LOGPROBS = 20
"""What vLLM's engine gives at most unless its argument `max_logprobs` says more."""

_SCORED_AT_ONCE = 2048
"""Tokens of a step of an engine that scores answers: it makes the logits of all of them, which its own profile does not count."""

_LEAST = float(np.finfo(np.float16).min)

Numbers = Sequence[int] | Sequence[float] | npt.NDArray[Any]


def pack_top_k(prompt: Numbers, answer: Numbers, ids: npt.NDArray[Any], logprobs: npt.NDArray[Any]) -> TopK:
    """`ids` and `logprobs` have the shape (tokens of the answer, k), each position's likeliest token first."""
    likely = np.exp(logprobs, dtype=np.float64)
    tail = np.clip(1.0 - likely.sum(axis=1), 0.0, 1.0)
    return TopK(
        k=ids.shape[1],
        prompt=np.asarray(prompt, np.dtype("<u4")).tobytes(),
        answer=np.asarray(answer, np.dtype("<u4")).tobytes(),
        ids=np.ascontiguousarray(ids, np.dtype("<u4")).tobytes(),
        logprobs=np.maximum(logprobs, _LEAST).astype(np.dtype("<f2")).tobytes(),
        tail=tail.astype(np.dtype("<f2")).tobytes(),
    )


def likeliest(entries: Sequence[Mapping[int, float]], k: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The k likeliest of the tokens that are told of each position, as ids and log-probabilities. Raises AskFailed where fewer
    are told.
    """
    if any(len(told) < k for told in entries):
        raise AskFailed(Reason.ENGINE_ERROR, f"fewer than the {k} likeliest tokens are told of a position")
    ordered = [sorted(told.items(), key=lambda entry: (-entry[1], entry[0]))[:k] for told in entries]
    flat = np.array([entry for position in ordered for entry in position], np.float64).reshape(len(entries), k, 2)
    return flat[:, :, 0].astype(np.uint32), flat[:, :, 1]


def said_logprobs(ids: Numbers, logprobs: Numbers) -> list[dict[str, Any]]:
    """`Completion.logprobs` of a scored answer: its own tokens, without their texts and without others."""
    pairs = zip(np.asarray(ids).tolist(), np.asarray(logprobs, np.float64).tolist(), strict=True)
    return [{"token": "", "id": id_, "logprob": logprob, "top": []} for id_, logprob in pairs]


def ready_models(job: Job) -> dict[str, Model]:
    """The job's models by role, with what their engines need for the log-probabilities that the recipe asks for. A role that
    shares a teacher's engine gets the same, else it would have an engine of its own.

    Raises JobError for a model that cannot tell them.
    """
    recipe, options = recipe_of(job), options_of(job.recipe)
    k, scores = recipe.top_k(options), recipe.scores
    models = job.models.by_role()
    if not k and not scores:
        return models
    shared = {model.engine_key for model in job.models.teachers}
    return {
        role: _ready(role, model, k, scores=scores) if is_teacher(role) or model.engine_key in shared else model
        for role, model in models.items()
    }


def refuse_mixed_tokenizers(job: Job, facts: Mapping[str, TeacherFacts]) -> None:
    """Raise JobError where rows would have token ids of several tokenizers in one column."""
    recipe = recipe_of(job)
    if not recipe.top_k(options_of(job.recipe)):
        return
    roles = {role: of.tokenizer["digest"] for role, of in facts.items() if is_teacher(role) and of.tokenizer}
    if len(set(roles.values())) > 1:
        raise JobError(
            f"models: wanted teachers of one tokenizer for top_k_logprobs, got {len(set(roles.values()))} in "
            f"{', '.join(sorted(roles))}; their token ids mean different things: make a dataset of each"
        )


def _ready(role: str, model: Model, k: int, *, scores: bool) -> Model:
    what = "log-probabilities of given answers" if scores else f"the {k} likeliest tokens at every position"
    if model.engine in ("batch_api", "none") or (model.endpoint is not None and model.endpoint.flavour == "openai"):
        raise JobError(
            f"models.{role}.engine: wanted a model that tells {what}, got {_kind(model)}, which does not; use engine: vllm, or a "
            "server of vLLM (flavour: vllm)"
        )
    if model.engine != "vllm":
        return model
    given = model.engine_args.get("max_logprobs", max(k, _VLLM_MAX_LOGPROBS))
    if isinstance(given, int) and 0 <= given < k:
        raise JobError(
            f"models.{role}.engine_args.max_logprobs: wanted at least the recipe's top_k_logprobs, {k}, got {given}; leave it out"
        )
    args: dict[str, Any] = {"max_logprobs": given} if k > _VLLM_MAX_LOGPROBS else {}
    args |= {"max_num_batched_tokens": _SCORED_AT_ONCE} if scores else {}
    return model.model_copy(update={"engine_args": args | model.engine_args})


def _kind(model: Model) -> str:
    return "an OpenAI-compatible server" if model.engine == "endpoint" else f"engine '{model.engine}'"
