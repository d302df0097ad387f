"""A remote endpoint under faults: every prompt is answered in the end or fails with a reason of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import synth_ray
from synth_ray.ask.adaptive_limit import EndpointLimiter
from synth_ray.ask.endpoint_teacher import EndpointTeacher
from synth_ray.ask.teacher import Prompt
from synth_ray.ask.usage import split_by_length
from synth_ray.errors import AskFailed, EngineDied, MissingResource, ServiceRefused
from synth_ray.job.models import Model
from synth_ray.recipes.contract import Completion, Constraint, user
from tests.endpoint_server import KEY, MODEL, Faults, faulty_server
from tests.servers import free_port

ALL = {"429": 0.1, "500": 0.1, "cut": 0.1, "reset": 0.1, "hang": 0.05}
HANG_S = 3.0


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TEACHER_KEY", KEY)
    yield


def teacher(*urls: str, **endpoint: Any) -> EndpointTeacher:
    section = {"urls": list(urls), "key_env": "TEACHER_KEY", "timeout_s": HANG_S - 1} | endpoint
    return EndpointTeacher(Model.model_validate({"engine": "endpoint", "model": MODEL, "endpoint": section}))


def prompt(number: int, **options: Any) -> Prompt:
    return Prompt([user(f"question {number}")], f"{number:08x}", sampling={"temperature": 0.5, "max_tokens": 8}, **options)


def ask(endpoint_teacher: EndpointTeacher, *prompts: Prompt) -> list[list[Completion]]:
    async def answer_all() -> list[list[Completion]]:
        return list(await asyncio.gather(*[endpoint_teacher.answer(p) for p in prompts]))

    return asyncio.run(answer_all())


def test_every_prompt_is_answered_despite_overload_faults_and_a_dead_url() -> None:
    faults = Faults(ALL, max_in_flight=24, hang_s=HANG_S)
    with faulty_server(faults) as url:
        endpoint_teacher = teacher(url, f"http://127.0.0.1:{free_port()}/v1")
        assert endpoint_teacher.open().max_model_len == 4096
        answers = ask(endpoint_teacher, *[prompt(i) for i in range(300)])
    assert len({a.text for [a] in answers}) == 300
    assert {(a.prompt_tokens, a.completion_tokens, a.cached_tokens) for [a] in answers} == {(7, 5, 3)}
    assert all(faults.counts[kind] for kind in ALL)
    assert faults.peak_in_flight < 100


def test_choices_are_sorted_by_index_and_share_the_token_count() -> None:
    with faulty_server(Faults()) as url:
        endpoint_teacher = teacher(url)
        endpoint_teacher.open()
        [answers] = ask(endpoint_teacher, prompt(1, n=3))
    assert [a.text.split()[1] for a in answers] == ["0", "1", "2"]
    assert sum(a.completion_tokens for a in answers) == 15


def test_a_prompt_that_is_too_long_fails_alone_and_its_error_quotes_nothing() -> None:
    with faulty_server(Faults()) as url:
        endpoint_teacher = teacher(url)
        endpoint_teacher.open()
        with pytest.raises(AskFailed) as failed:
            ask(endpoint_teacher, Prompt([user("TOO LONG")], "0" * 8, sampling={}))
    assert failed.value.reason == "prompt_too_long"
    assert "SECRET" not in str(failed.value)


def test_a_wrong_key_an_unknown_model_and_an_unreachable_server_fail_on_open(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingResource, match="wanted a server that answers, got none of 1"):
        teacher(f"http://127.0.0.1:{free_port()}/v1").open()
    with faulty_server(Faults(key="another")) as url:
        with pytest.raises(MissingResource, match="wanted a key that the server takes, got HTTP 401") as error:
            teacher(url).open()
        assert KEY not in str(error.value)
    with faulty_server(Faults()) as url:
        other = Model.model_validate({"engine": "endpoint", "model": "x", "endpoint": {"urls": url, "key_env": "TEACHER_KEY"}})
        with pytest.raises(MissingResource, match="wanted a model that the server has, got 'x'"):
            EndpointTeacher(other).open()
    monkeypatch.delenv("TEACHER_KEY")
    with pytest.raises(MissingResource, match="wanted a key in the environment variable TEACHER_KEY"):
        teacher("http://127.0.0.1:1/v1").open()


def test_an_option_that_the_server_does_not_support_is_an_error() -> None:
    with faulty_server(Faults()) as url:
        endpoint_teacher = teacher(url)
        endpoint_teacher.open()
        with pytest.raises(ServiceRefused, match="wanted a server that takes choices and patterns"):
            ask(endpoint_teacher, prompt(1, constraint=Constraint(choices=("a", "b"))))
        with pytest.raises(ServiceRefused, match=r"sampling\.top_k: wanted a server that takes it"):
            ask(endpoint_teacher, Prompt([user("?")], "0" * 8, sampling={"top_k": 5}))


def test_an_unreachable_server_is_a_dead_engine_and_exhausted_retries_fail_the_prompt() -> None:
    with faulty_server(Faults({"500": 1.0})) as url:
        no_retries = teacher(url, retries=0)
        no_retries.open()
        with pytest.raises(AskFailed, match="no answer in 1 tries"):
            ask(no_retries, prompt(1))
    with faulty_server(Faults()) as url:
        unreachable = teacher(url, dead_after_s=0.2)
        unreachable.open()
    with pytest.raises(EngineDied, match="wanted an answer, got none"):
        ask(unreachable, prompt(2))


def test_a_cancelled_prompt_frees_its_slot() -> None:
    async def cancelled() -> int:
        task = asyncio.create_task(endpoint_teacher.answer(prompt(3)))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return endpoint_teacher.load().running

    with faulty_server(Faults({"hang": 1.0})) as url:
        endpoint_teacher = teacher(url)
        endpoint_teacher.open()
        assert asyncio.run(cancelled()) == 0


@given(st.integers(0, 10_000), st.lists(st.text(max_size=20), min_size=1, max_size=8))
def test_split_token_counts_sum_to_the_servers_count(tokens: int, texts: list[str]) -> None:
    assert sum(split_by_length(tokens, texts)) == tokens
    assert min(split_by_length(tokens, texts)) >= 0


@given(st.lists(st.sampled_from(["on_success", "on_overload", "on_connect_error"]), max_size=200), st.integers(1, 64))
def test_a_limit_stays_between_one_and_its_maximum(events: list[str], max_limit: int) -> None:
    now = 0.0
    limiter = EndpointLimiter(["a", "b"], max_limit=max_limit, clock=lambda: now)
    for event in events:
        now += 1.0
        endpoint = limiter.endpoints[0]
        endpoint.running = int(endpoint.limit)
        if event == "on_success":
            limiter.on_success(endpoint, 0.1)
        else:
            getattr(limiter, event)(endpoint)
        assert 1 <= endpoint.limit <= max_limit


@settings(max_examples=60)
@given(limit=st.integers(1, 3), callers=st.integers(1, 8), rounds=st.integers(1, 20), cancelled=st.lists(st.integers(0, 40)))
def test_nobody_who_waits_is_overtaken_and_no_endpoint_is_left_out(
    limit: int, callers: int, rounds: int, cancelled: list[int]
) -> None:
    """Callers that ask again the moment they are done, some of them cancelled at any step."""
    limiter, tickets, served, used = EndpointLimiter(["a", "b"], max_limit=limit), count(), list[int](), set[str]()

    async def call() -> None:
        for _ in range(rounds):
            ticket = next(tickets)
            async with limiter.acquire() as endpoint:
                served.append(ticket)
                used.add(endpoint.url)
                assert endpoint.running <= endpoint.limit
                for _ in range(3):  # longer than a caller needs to wake: nobody comes twice meanwhile
                    await asyncio.sleep(0)

    async def run() -> None:
        tasks = [asyncio.create_task(call()) for _ in range(callers)]
        for step in range(max(cancelled, default=0)):
            await asyncio.sleep(0)
            if step in cancelled:
                tasks[step % callers].cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            assert ended is None or isinstance(ended, asyncio.CancelledError)

    asyncio.run(run())
    places = 2 * limit
    assert all(sum(later > ticket for later in served[:at]) < places for at, ticket in enumerate(served))
    assert used == {"a", "b"} or len(served) < 2
    assert (limiter.running, limiter.waiting) == (0, 0)


def test_a_server_that_was_not_asked_for_long_is_not_dead_when_it_fails_once() -> None:
    async def after_a_quiet_spell(endpoint_teacher: EndpointTeacher, faults: Faults) -> list[Completion]:
        await endpoint_teacher.answer(prompt(1))
        assert endpoint_teacher._sender is not None
        endpoint_teacher._sender.limiter._last_reply -= 100.0
        faults.shares["500"] = 1.0
        return await endpoint_teacher.answer(prompt(2))

    with faulty_server(faults := Faults()) as url:
        endpoint_teacher = teacher(url, dead_after_s=60.0)
        endpoint_teacher.open()
        [answer] = asyncio.run(after_a_quiet_spell(endpoint_teacher, faults))
    assert answer.text
    assert faults.counts["500"] == 1


def test_a_pause_that_a_server_asks_for_outlasts_answers_that_were_on_their_way() -> None:
    now = 0.0
    limiter = EndpointLimiter(["a"], max_limit=4, clock=lambda: now)
    [endpoint] = limiter.endpoints
    limiter.on_overload(endpoint, wait_s=3600.0, is_busy=True)
    limiter.on_success(endpoint, 0.1)

    async def is_free() -> bool:
        try:
            async with asyncio.timeout(0.01), limiter.acquire():
                return True
        except TimeoutError:
            return False

    now = 3599.0
    assert not asyncio.run(is_free())
    now = 3601.0
    assert asyncio.run(is_free())


def test_in_a_whole_run_faults_change_no_row_and_the_key_is_not_written(tmp_path: Path) -> None:
    seeds = tmp_path / "seeds.jsonl"
    seeds.write_text("".join(json.dumps({"prompt": f"Question {n}?"}) + "\n" for n in range(120)))
    digests, price = [], {"usd_per_1m_completion": 1e6}
    for name, shares in (("calm", {}), ("rough", ALL)):
        with faulty_server(Faults(shares, hang_s=HANG_S)) as url:
            job = {
                "name": "elsewhere",
                "seeds": str(seeds),
                "recipe": "distill",
                "models": {
                    "teacher": {
                        "engine": "endpoint",
                        "model": MODEL,
                        "endpoint": {"urls": url, "key_env": "TEACHER_KEY", "timeout_s": HANG_S - 1} | price,
                    }
                },
                "plan": {"chunk_requests": 40},
                "split": {"allow_synthetic_only_eval": True, "group_at": None},
                "output": str(tmp_path / name),
                "cluster": {"engine": "local"},
            }
            manifest = synth_ray.run(job).manifest
        assert manifest["rows"]["accepted"] == 120
        assert manifest["cost"]["usd"] >= 600
        digests.append(manifest["dataset_digest"])
        texts = [p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()]
        assert not any(KEY.encode() in text for text in texts)
    assert digests[0] == digests[1]


def test_a_job_has_an_endpoint_url_without_a_password() -> None:
    with pytest.raises(ValidationError, match="wanted `endpoint` and engine 'endpoint' together"):
        Model.model_validate({"engine": "endpoint", "model": "m"})
    with pytest.raises(ValidationError, match="hold no password"):
        Model.model_validate({"engine": "endpoint", "model": "m", "endpoint": {"urls": "https://me:secret@host/v1"}})
    with pytest.raises(ValidationError, match=r"wanted the base URL, .*got one that ends in chat/completions"):
        Model.model_validate({"engine": "endpoint", "model": "m", "endpoint": {"urls": "https://host/v1/chat/completions"}})
    model = Model.model_validate({"engine": "endpoint", "model": "m", "endpoint": {"urls": "https://host/v1/"}})
    assert model.sends_prompts_out
