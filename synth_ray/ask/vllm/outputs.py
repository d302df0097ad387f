"""vLLM's request outputs as completions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from synth_ray.ask.top_k import pack_top_k, said_logprobs
from synth_ray.recipes.contract import Completion
from synth_ray.records import TopK

RawCompletion = tuple[Completion, list[int]]
"""A completion and its token ids. It has no text where the engine did not detokenize it."""


def completions_of(output: Any, answer_start: int | None = None) -> list[RawCompletion]:
    """The answers of a finished request, or the scores of the answer that begins at this token of its prompt."""
    if answer_start is not None:
        return [(_scored(output, answer_start), [])]
    prompt_tokens = len(output.prompt_token_ids or ())
    cached = int(output.num_cached_tokens or 0)
    return [
        (
            Completion(
                o.text,
                str(o.finish_reason or "abort"),
                prompt_tokens,
                len(o.token_ids),
                cached,
                None if _is_flat(o.logprobs) else _logprobs(o),
                top_k=_top_k(output.prompt_token_ids, o.token_ids, o.logprobs) if _is_flat(o.logprobs) else None,
            ),
            list(o.token_ids),
        )
        for o in sorted(output.outputs, key=lambda o: o.index)
    ]


def _logprobs(output: Any) -> list[dict[str, Any]] | None:
    if output.logprobs is None:
        return None
    return [_token_logprobs(token, likely) for token, likely in zip(output.token_ids, output.logprobs, strict=True)]


def _token_logprobs(token: int, likely: Mapping[int, Any]) -> dict[str, Any]:
    by_id = {
        id_: {"token": logprob.decoded_token or "", "id": id_, "logprob": logprob.logprob} for id_, logprob in likely.items()
    }
    return by_id[token] | {"top": sorted(by_id.values(), key=lambda entry: -entry["logprob"])}


# Flat log-probabilities: at each position those of its own token and of the k likeliest, which may include it.


def _is_flat(logprobs: Any) -> bool:
    return hasattr(logprobs, "start_indices")


def _top_k(prompt: Any, answer: Any, logprobs: Any, start: int = 0) -> TopK | None:
    ids, values = _entries(logprobs, start)
    return pack_top_k(prompt, answer, ids[:, 1:], values[:, 1:]) if ids.shape[1] > 1 else None


def _entries(logprobs: Any, start: int) -> tuple[Any, Any]:
    """Token ids and log-probabilities from position `start` on, of the shape (positions, 1 + k)."""
    first = logprobs.start_indices[start] if start < len(logprobs) else len(logprobs.token_ids)
    positions = max(1, len(logprobs) - start)
    ids = np.array(logprobs.token_ids[first:], np.uint32).reshape(positions, -1)
    return ids, np.array(logprobs.logprobs[first:], np.float64).reshape(ids.shape)


def _scored(output: Any, start: int) -> Completion:
    tokens = list(output.prompt_token_ids)
    ids, values = _entries(output.prompt_logprobs, start)
    assert ids[:, 0].tolist() == tokens[start:], "the engine tells the log-probabilities of other tokens"
    top_k = _top_k(tokens[:start], tokens[start:], output.prompt_logprobs, start)
    return Completion(
        "", "stop", len(tokens), 1, int(output.num_cached_tokens or 0), said_logprobs(ids[:, 0], values[:, 0]), top_k=top_k
    )
