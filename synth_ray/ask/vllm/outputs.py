"""vLLM's request outputs as completions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synth_ray.recipes.contract import Completion

RawCompletion = tuple[Completion, list[int]]
"""A completion and its token ids. It has no text where the engine did not detokenize it."""


def completions_of(output: Any) -> list[RawCompletion]:
    prompt_tokens = len(output.prompt_token_ids or ())
    cached = int(output.num_cached_tokens or 0)
    return [
        (
            Completion(o.text, str(o.finish_reason or "abort"), prompt_tokens, len(o.token_ids), cached, _logprobs(o)),
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
