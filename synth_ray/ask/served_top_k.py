"""Log-probabilities by token id from a server of vLLM: what is asked for, and what its replies tell.

Other servers tell no ids, and the text of a token does not say which token it is: they are refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from synth_ray.ask.teacher import Prompt
from synth_ray.ask.top_k import likeliest, pack_top_k, said_logprobs
from synth_ray.ask.vllm.scoring import common_prefix, refuse_torn_prompt
from synth_ray.errors import AskFailed, ServiceRefused
from synth_ray.job.models import Model
from synth_ray.recipes.contract import Completion
from synth_ray.records import Message, Reason, TopK

_TOKEN_ID = "token_id:"

Reply = Mapping[str, Any]
Send = Callable[[list[Message], Mapping[str, Any]], Awaitable[Reply]]
"""Sends messages with these keys in the body, and returns a reply that has `prompt_token_ids`."""


def refuse_other_server(*, is_vllm: bool) -> None:
    """Raise ServiceRefused for a server that is not known to tell token ids."""
    if not is_vllm:
        raise ServiceRefused(
            "recipe.top_k_logprobs: wanted a server that tells token ids, got one that does not say it is vLLM; say flavour: "
            "vllm, or use engine: vllm"
        )


def top_k_keys(model: Model, k: int, *, is_vllm: bool) -> dict[str, Any]:
    """Keys of the body. A server's list begins with the answer's own token, so one more is asked for than is wanted."""
    refuse_other_server(is_vllm=is_vllm)
    told = {"logprobs": True, "top_logprobs": k + 1} if model.chat else {"logprobs": k + 1}
    return told | {"return_tokens_as_token_ids": True, "return_token_ids": True}


def prompt_ids_in(reply: Reply) -> list[int] | None:
    """The token ids of the prompt, where the server tells them."""
    choices = reply.get("choices")
    first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    ids = reply.get("prompt_token_ids") or first.get("prompt_token_ids")
    is_list = isinstance(ids, list) and all(isinstance(id_, int) and 0 <= id_ < 2**32 for id_ in ids)
    return ids if is_list else None


def prompt_alone(reply: Reply, logprobs: Sequence[Mapping[str, Any]] | None) -> TopK | None:
    """Of an answer with log-probabilities by token id: the ids of its prompt, until `with_top_k` adds the answer's."""
    ids = prompt_ids_in(reply) if logprobs and logprobs[0]["token"].startswith(_TOKEN_ID) else None
    return TopK(0, np.asarray(ids, np.dtype("<u4")).tobytes(), b"", b"", b"", b"") if ids is not None else None


def with_top_k(answer: Completion, k: int) -> Completion:
    """The answer with its log-probabilities packed. Raises AskFailed where the reply does not tell them by token id."""
    tokens = answer.logprobs or []
    if not tokens or answer.top_k is None or not all(token["token"].startswith(_TOKEN_ID) for token in tokens):
        raise AskFailed(Reason.ENGINE_ERROR, "the server's reply has no log-probabilities by token id")
    told = [{_id_of(entry): entry["logprob"] for entry in token["top"]} for token in tokens]
    prompt = np.frombuffer(answer.top_k.prompt, "<u4")
    packed = pack_top_k(prompt, [_id_of(token) for token in tokens], *likeliest(told, k))
    return replace(answer, logprobs=None, top_k=packed)


def _id_of(entry: Mapping[str, Any]) -> int:
    digits = entry["token"].removeprefix(_TOKEN_ID)
    if not digits.isdecimal():
        raise AskFailed(Reason.ENGINE_ERROR, "the server's reply has no log-probabilities by token id")
    return int(digits)


async def score(send: Send, model: Model, prompt: Prompt) -> Completion:
    """The scores of a given answer. The server renders it three times: without the answer, with it, and with it left open, which
    tells where it begins and where its last token is.
    """
    k = int(prompt.sampling.get("top_k_logprobs") or 0)
    messages, closed, left_open = _with_answer(model, prompt)
    before = prompt_ids_in(await send(prompt.messages, {})) or []
    body = prompt_ids_in(await send(messages, left_open)) or [] if left_open else []
    reply = await send(messages, closed | {"prompt_logprobs": max(k, 1)})
    whole = prompt_ids_in(reply) or []
    start = common_prefix(before, whole)
    refuse_torn_prompt(start, len(before), len(whole))
    if body and common_prefix(body, whole) == len(body):
        whole = whole[: len(body) + 1]
    told = _told(reply, whole, start)
    said = said_logprobs(whole[start:], [own for _, own in told])
    top_k = pack_top_k(whole[:start], whole[start:], *likeliest([likely for likely, _ in told], k)) if k else None
    return Completion(prompt.given, "stop", len(whole), 1, logprobs=said, top_k=top_k)


def _with_answer(model: Model, prompt: Prompt) -> tuple[list[Message], dict[str, Any], dict[str, Any]]:
    """Messages with the answer, and the keys that render it closed and open. Without a chat template there is neither."""
    if model.chat:
        messages = [*prompt.messages, {"role": "assistant", "content": prompt.given}]
        closed = {"add_generation_prompt": False}
        return messages, closed, closed | {"continue_final_message": True}
    *first, last = prompt.messages
    return [*first, {**last, "content": last["content"] + prompt.given}], {}, {}


def _told(reply: Reply, ids: list[int], start: int) -> list[tuple[dict[int, float], float]]:
    """Of each token of the answer: the log-probabilities that are told at its place, and its own."""
    choices = reply.get("choices") or [{}]
    positions = reply.get("prompt_logprobs") or choices[0].get("prompt_logprobs") or []
    try:
        told = [{int(id_): float(of["logprob"]) for id_, of in position.items()} for position in positions[start : len(ids)]]
        return [(likely, likely[id_]) for likely, id_ in zip(told, ids[start:], strict=True)]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise AskFailed(Reason.ENGINE_ERROR, "the server's reply has no log-probabilities of the prompt") from None
