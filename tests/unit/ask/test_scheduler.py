"""Our scheduler beside vLLM's: over any course of requests they make the same schedules and the same answers."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import TINY_TEACHER

pytestmark = pytest.mark.vllm  # opens no engine, but imports all of vLLM

BLOCK = 16
DRAFTS = 3
SPECULATED = 5
"""Where `told` has the drafts of a step."""


@dataclass(frozen=True)
class Course:
    """What is asked when. `whole` requests want nothing but the end; the others want their text made at each step."""

    prompts: list[tuple[int, int, int, bool]]  # (step at which it comes, prompt tokens, most tokens, whole)
    aborted: dict[int, int]  # request: step
    blocks: int
    most_running: int
    most_tokens: int
    caches: bool


COURSES = st.builds(
    Course,
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 90), st.integers(1, 70), st.booleans()), min_size=1, max_size=14),
    st.dictionaries(st.integers(0, 13), st.integers(1, 80), max_size=3),
    blocks=st.integers(14, 60),
    most_running=st.integers(1, 12),
    most_tokens=st.sampled_from([16, 40, 200]),
    caches=st.booleans(),
)


@cache
def config(is_async: bool, drafts: bool) -> Any:
    from vllm import EngineArgs

    from synth_ray.ask.vllm.engine import set_vllm_environment

    set_vllm_environment()
    told: Any = {"model": str(TINY_TEACHER), "max_model_len": 160, "max_num_seqs": 12, "distributed_executor_backend": "uni"}
    told |= {"speculative_config": {"method": "ngram", "num_speculative_tokens": DRAFTS}} if drafts else {}
    made = EngineArgs(**told).create_engine_config()
    made.scheduler_config.async_scheduling = is_async
    return made


def scheduler(cls: Any, course: Course, is_async: bool, drafts: bool) -> Any:
    import torch
    from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
    from vllm.v1.structured_output import StructuredOutputManager

    made = config(is_async, drafts)
    made.cache_config.num_gpu_blocks, made.cache_config.block_size = course.blocks, BLOCK
    made.cache_config.enable_prefix_caching = course.caches
    made.scheduler_config.max_num_seqs = course.most_running
    made.scheduler_config.max_num_batched_tokens = course.most_tokens
    spec = FullAttentionSpec(block_size=BLOCK, num_kv_heads=1, head_size=1, dtype=torch.float32)
    cache_config = KVCacheConfig(course.blocks, [], [KVCacheGroupSpec(["layer"], spec)])
    return cls(
        vllm_config=made,
        kv_cache_config=cache_config,
        structured_output_manager=StructuredOutputManager(made),
        block_size=BLOCK,
        hash_block_size=BLOCK,
        log_stats=False,
    )


def request(number: int, prompt: int, most: int, whole: bool, caches: bool) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind
    from vllm.utils.hashing import sha256
    from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
    from vllm.v1.request import Request

    init_none_hash(sha256)
    params = SamplingParams(max_tokens=most, stop_token_ids=[7], detokenize=not whole, output_kind=RequestOutputKind.FINAL_ONLY)
    hasher = get_request_block_hasher(BLOCK, sha256) if caches else None
    tokens = [11 + i % 5 for i in range(prompt)]  # beginnings are shared
    return Request(str(number), tokens, params, None, arrival_time=float(number), block_hasher=hasher)


def token(name: str, position: int) -> int:
    """Now and then the token that ends an answer."""
    return hashlib.sha256(f"{name}/{position}".encode()).digest()[0] % 60


def spoken(request: Any, drafts: Sequence[int]) -> list[int]:
    """As many of the drafts as are right, and the token behind them."""
    name, first = request.request_id, request.num_computed_tokens - len(drafts)
    right = token(f"right/{name}", first) % (len(drafts) + 1)
    return [token(name, first + at) for at in range(right + 1)]


def sampled(scheduler: Any, scheduled: Any) -> Any:
    from vllm.v1.outputs import ModelRunnerOutput

    names = list(scheduled.num_scheduled_tokens)
    requests = [scheduler.requests[name] for name in names]
    tokens = [
        [] if r.is_prefill_chunk else spoken(r, scheduled.scheduled_spec_decode_tokens.get(r.request_id, ())) for r in requests
    ]
    return ModelRunnerOutput(
        names, {name: at for at, name in enumerate(names)}, tokens, num_nans_in_logits=dict.fromkeys(names, 0)
    )


def told(scheduled: Any) -> Any:
    cached = scheduled.scheduled_cached_reqs
    return (
        [(r.req_id, r.block_ids, r.num_computed_tokens) for r in scheduled.scheduled_new_reqs],
        [cached.req_ids, cached.resumed_req_ids, cached.new_block_ids, cached.num_computed_tokens, cached.num_output_tokens],
        cached.all_token_ids,
        list(scheduled.num_scheduled_tokens.items()),
        scheduled.total_num_scheduled_tokens,
        scheduled.scheduled_spec_decode_tokens,
        scheduled.finished_req_ids,
        scheduled.preempted_req_ids,
        scheduled.has_structured_output_requests,
    )


def draft(scheduler: Any, step: int) -> None:
    """What the engine does behind each step: up to so many drafts for what runs."""
    from vllm.v1.outputs import DraftTokenIds

    names = [request.request_id for request in scheduler.running]
    scheduler.update_draft_token_ids(DraftTokenIds(names, [[11] * (token(name, step) % (DRAFTS + 1)) for name in names]))


def run(cls: Any, course: Course, is_async: bool, *, drafts: bool = False) -> tuple[list[Any], dict[str, Any], Any, int]:
    """The schedule of each step; each answer: the step in which it ended, why, its tokens, how many were cached; the scheduler;
    and how many drafts were right.
    """
    here = scheduler(cls, course, is_async, drafts)
    schedules, answers, tokens, cached, right = [], {}, {}, {}, 0
    in_flight: deque[Any] = deque()
    for step in range(1200):
        for number, (at, prompt, most, whole) in enumerate(course.prompts):
            if at == step:
                here.add_request(request(number, prompt, most, whole, course.caches))
            if course.aborted.get(number) == step and str(number) in here.requests:
                from vllm.v1.request import RequestStatus

                here.finish_requests(str(number), RequestStatus.FINISHED_ABORTED)
        scheduled = here.schedule()
        schedules.append(told(scheduled))
        in_flight.append((scheduled, sampled(here, scheduled)))
        right += sum(max(0, len(spoken) - 1) for spoken in in_flight[-1][1].sampled_token_ids)
        if len(in_flight) <= is_async:
            continue
        for client in here.update_from_output(*in_flight.popleft()).values():
            for output in client.outputs:
                tokens.setdefault(output.request_id, []).extend(output.new_token_ids)
                if output.prefill_stats is not None:
                    cached[output.request_id] = output.prefill_stats.num_cached_tokens
                if output.finish_reason is not None:
                    name = output.request_id
                    answers[name] = (step, output.finish_reason, output.stop_reason, tokens[name], cached.get(name))
        if drafts:
            draft(here, step)
        if step > 80 and not here.requests:
            break
    return schedules, answers, here, right


@pytest.mark.parametrize("is_async", [False, True])
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(course=COURSES)
def test_schedules_and_answers_are_those_of_vllms_own_scheduler(course: Course, is_async: bool) -> None:
    from vllm.v1.core.sched.async_scheduler import AsyncScheduler
    from vllm.v1.core.sched.scheduler import Scheduler

    from synth_ray.ask.vllm.scheduler import AsyncWholeAnswerScheduler, WholeAnswerScheduler

    stock, ours = (AsyncScheduler, AsyncWholeAnswerScheduler) if is_async else (Scheduler, WholeAnswerScheduler)
    theirs = run(stock, course, is_async)
    own = run(ours, course, is_async)
    assert own[0] == theirs[0]
    assert own[1] == theirs[1]
    assert own[2]._block_size == BLOCK and own[2]._keeps_tokens, "the short ways were not taken"
    assert not own[2]._whole


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(course=COURSES)
def test_under_speculation_vllms_own_scheduler_works_and_ours_counts_the_drafts(course: Course) -> None:
    from vllm.v1.core.sched.scheduler import Scheduler

    from synth_ray.ask.vllm.scheduler import WholeAnswerScheduler

    theirs, own = run(Scheduler, course, False, drafts=True), run(WholeAnswerScheduler, course, False, drafts=True)
    assert own[:2] == theirs[:2]
    assert not own[2]._block_size and not own[2]._keeps_tokens, "it did not give way"
    drafted = sum(len(drafts) for step in own[0] for drafts in step[SPECULATED].values())
    assert (own[2].drafted, own[2].accepted) == (drafted, own[3])
