"""A scheduler that does less at each step for requests whose answers are wanted whole: vLLM's own, given to it by name.

Stock, a step makes an output of every running sequence and walks through it twice, and asks the KV cache about each although a
block lasts for many tokens. Here the token of a sequence that goes on is kept until the sequence ends, and a sequence that
decodes within its block is scheduled at once. Everything else goes to vLLM's own code: prefills, ends, preemptions, stop strings,
log-probabilities, speculation. What is scheduled, sampled and reported is the same (`tests/unit/ask/test_scheduler.py` compares).

It repeats what private code does, so it is used only with the sources that it was compared with (`known_sources`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from vllm.sampling_params import RequestOutputKind
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.core.single_type_kv_cache_manager import FullAttentionManager


@dataclass(slots=True)
class _Whole:
    """A request whose answer is wanted whole: the tokens that end it, its longest length, and the tokens kept so far."""

    request: Any
    ends: frozenset[int]
    most_tokens: int
    kept: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Rows:
    """What a step's schedule says of requests that decode: a list for each of its columns, and all tokens where it wants them."""

    names: list[str] = field(default_factory=list)
    blocks: list[Any] = field(default_factory=list)
    computed: list[int] = field(default_factory=list)
    generated: list[int] = field(default_factory=list)
    tokens: dict[str, list[int]] = field(default_factory=dict)


class _WholeAnswers:
    """Mixed into vLLM's schedulers. Law: the same schedule, and the same tokens of every finished request."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._whole: dict[str, _Whole] = {}
        self.drafted = self.accepted = 0
        self._is_async = isinstance(self, AsyncScheduler)
        self._keeps_tokens = _is_plain(self)
        self._block_size = _block_size(self)

    def add_request(self: Any, request: Any) -> None:
        super().add_request(request)  # type: ignore[misc]
        if self._keeps_tokens and _is_whole(request):
            sampling = request.sampling_params
            ends = frozenset({sampling.eos_token_id, *(sampling.stop_token_ids or ())} - {None})
            most_tokens = min(self.max_model_len, request.num_prompt_tokens + request.max_tokens)
            self._whole[request.request_id] = _Whole(request, ends, most_tokens)

    def _free_request(self: Any, request: Any, *arguments: Any, **more: Any) -> Any:
        self._whole.pop(request.request_id, None)
        return super()._free_request(request, *arguments, **more)  # type: ignore[misc]

    def make_spec_decoding_stats(self: Any, stats: Any, **told: Any) -> Any:
        """Called for each draft that was verified: vLLM counts them only where its statistics are on."""
        self.drafted += told["num_draft_tokens"] - (told["num_invalid_spec_tokens"] or {}).get(told["request_id"], 0)
        self.accepted += told["num_accepted_tokens"]
        return super().make_spec_decoding_stats(stats, **told)  # type: ignore[misc]

    # A step's tokens

    def update_from_output(self: Any, scheduled: Any, sampled: Any) -> Any:
        if not self._whole or not sampled.sampled_token_ids or any((sampled.num_nans_in_logits or {}).values()):
            return super().update_from_output(scheduled, sampled)  # type: ignore[misc]
        others, whole = self._keep_tokens(scheduled.num_scheduled_tokens, sampled)
        outputs = super().update_from_output(replace(scheduled, num_scheduled_tokens=others), sampled)  # type: ignore[misc]
        for client in outputs.values() if whole else ():
            for output in client.outputs:
                answer = whole.get(output.request_id)
                if answer is not None and answer.kept:
                    output.new_token_ids = [*answer.kept, *output.new_token_ids]
                    answer.kept.clear()
        return outputs

    def _keep_tokens(self: Any, scheduled: dict[str, int], sampled: Any) -> tuple[dict[str, int], dict[str, _Whole]]:
        """Append the tokens of the requests that go on. The requests left to vLLM, and those of them with tokens kept."""
        others: dict[str, int] = {}
        whole: dict[str, _Whole] = {}
        answers, index, tokens = self._whole, sampled.req_id_to_index, sampled.sampled_token_ids
        hash_size, placeholders = self.hash_block_size, self._is_async
        for name, count in scheduled.items():
            answer = answers.get(name)
            if answer is None:
                others[name] = count
                continue
            request, new = answer.request, tokens[index[name]]
            everything = request._all_token_ids
            if (
                len(new) != 1
                or new[0] in answer.ends
                or len(everything) + 1 >= answer.most_tokens
                or request.prefill_stats is not None
                or request.num_stale_output_tokens
            ):
                others[name], whole[name] = count, answer
                continue
            token = new[0]
            request.num_in_flight_tokens -= count
            if placeholders:
                request.num_output_placeholders -= 1
            request._output_token_ids.append(token)
            everything.append(token)
            if len(everything) % hash_size == 0:
                request.update_block_hashes()
            answer.kept.append(token)
        return others, whole

    # A step's schedule

    def schedule(self: Any, throttle_prefills: bool = False) -> Any:
        decoding = 0 if throttle_prefills or not self._block_size else self._decoding()
        if decoding < 2:
            return super().schedule(throttle_prefills)  # type: ignore[misc]
        # One stays in sight: whether any runs decides how much of the cache a new request may take.
        hidden, self.running = self.running[: decoding - 1], self.running[decoding - 1 :]
        rows = self._rows(hidden)
        self.max_num_scheduled_tokens -= len(rows.names)
        self.max_num_active_reqs -= len(hidden)
        try:
            scheduled = super().schedule(throttle_prefills)  # type: ignore[misc]
        finally:
            self.running = hidden + self.running
            self.max_num_scheduled_tokens += len(rows.names)
            self.max_num_active_reqs += len(hidden)
        if rows.names:
            self._add(rows, scheduled)
        return scheduled

    def _decoding(self: Any) -> int:
        """How many requests at the head of the list decode one token each, if the free blocks are enough for all of them."""
        size, longest, needed, at_head = self._block_size, self.max_model_len - 1, 0, 0
        for request in self.running:
            computed = request.num_computed_tokens
            if (
                len(request._all_token_ids) + request.num_output_placeholders - computed != 1
                or computed >= longest
                or request.is_prefill_chunk
                or request.spec_token_ids
                or request.mm_features
            ):
                break
            at_head += 1
            needed += computed % size == 0
        fits = needed <= self.kv_cache_manager.block_pool.get_num_free_blocks() and at_head < self.max_num_scheduled_tokens
        return at_head if fits else 0

    def _rows(self: Any, requests: list[Any]) -> _Rows:
        size, rows = self._block_size, _Rows()
        before = None if self.use_v2_model_runner else self.prev_step_scheduled_req_ids
        for request in requests:
            computed, waited, blocks = request.num_computed_tokens, request.num_output_placeholders, None
            if waited and computed + 2 - waited >= request.num_prompt_tokens + request.max_tokens:
                continue  # its last token is being computed
            if not 0 < computed % size < size - 1:  # it begins a block, or fills one, which is then cached
                blocks = self.kv_cache_manager.allocate_slots(request, 1).get_block_ids(allow_none=True)
            name = request.request_id
            rows.names.append(name)
            rows.blocks.append(blocks)
            rows.computed.append(computed)
            rows.generated.append(len(request._output_token_ids) + waited)
            if before is not None and name not in before:
                rows.tokens[name] = request.all_token_ids.copy()
        return rows

    def _add(self: Any, rows: _Rows, scheduled: Any) -> None:
        """Put the hidden requests before the others, where they would have stood, and advance them as vLLM does."""
        cached, tokens = scheduled.scheduled_cached_reqs, dict.fromkeys(rows.names, 1)
        cached.req_ids[:0] = rows.names
        cached.new_block_ids[:0] = rows.blocks
        cached.num_computed_tokens[:0] = rows.computed
        cached.num_output_tokens[:0] = rows.generated
        cached.all_token_ids |= rows.tokens
        if not self.use_v2_model_runner:
            self.prev_step_scheduled_req_ids.update(rows.names)
        advanced = replace(scheduled, num_scheduled_tokens=tokens)
        self._update_after_schedule(advanced)
        scheduled.has_structured_output_requests = advanced.has_structured_output_requests
        scheduled.pending_structured_output_tokens = advanced.pending_structured_output_tokens
        scheduled.num_scheduled_tokens = tokens | scheduled.num_scheduled_tokens
        scheduled.total_num_scheduled_tokens += len(tokens)


class WholeAnswerScheduler(_WholeAnswers, Scheduler):  # type: ignore[misc]
    """In place of vLLM's Scheduler."""


class AsyncWholeAnswerScheduler(_WholeAnswers, AsyncScheduler):  # type: ignore[misc]
    """In place of vLLM's AsyncScheduler."""


def _is_whole(request: Any) -> bool:
    """Whether nothing but the answer's end is wanted of the request: no stop string, no log-probability, no grammar."""
    sampling = request.sampling_params
    return (
        sampling is not None
        and sampling.output_kind is RequestOutputKind.FINAL_ONLY
        and not sampling.detokenize
        and sampling.num_logprobs is None
        and sampling.prompt_logprobs is None
        and sampling.repetition_detection is None
        and request.structured_output_request is None
        and not (request.resumable or request.mm_features or request.trace_headers)
    )


def _is_plain(scheduler: Any) -> bool:
    """Whether nobody else needs to hear of each token or step: no statistics, connectors or speculation."""
    return not (
        scheduler.log_stats
        or scheduler.connector
        or scheduler.ec_connector
        or scheduler.aux_output_connector
        or scheduler.return_sampling_mask
        or scheduler.num_spec_tokens
        or scheduler.num_lookahead_tokens
        or scheduler.is_encoder_decoder
        or scheduler.is_mm_encoder_only
        or scheduler.num_sampled_tokens_per_step != 1
    )


def _block_size(scheduler: Any) -> int:
    """Tokens of a block; 0 where a request may need more of the scheduler than the next block."""
    managers = scheduler.kv_cache_manager.coordinator.single_type_managers
    config, parallel = scheduler.scheduler_config, scheduler.parallel_config
    if (
        not _is_plain(scheduler)
        or len(managers) != 1
        or type(managers[0]) is not FullAttentionManager
        or scheduler.lora_config
        or scheduler.num_prefill_lookahead
        or config.policy != "fcfs"
        or config.long_prefill_token_threshold
        or parallel.pipeline_parallel_size * parallel.data_parallel_size * parallel.decode_context_parallel_size > 1
        or scheduler.max_num_scheduled_tokens > config.max_num_batched_tokens
    ):
        return 0
    return int(managers[0].block_size)
