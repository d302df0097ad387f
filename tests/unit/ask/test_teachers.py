"""The contract of every teacher: scripted, vLLM in a process and in a thread, an endpoint, a batch API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from synth_ray.ask.batches.teacher import BatchApiTeacher
from synth_ray.ask.endpoint_teacher import EndpointTeacher
from synth_ray.ask.openai_protocol import request_body
from synth_ray.ask.scripted_teacher import ScriptedTeacher
from synth_ray.ask.teacher import Prompt, Teacher
from synth_ray.ask.vllm.chat_template import chat_tokens
from synth_ray.ask.vllm.host import ThreadHost
from synth_ray.ask.vllm.teacher import VllmTeacher
from synth_ray.errors import AskFailed, EngineDied
from synth_ray.job.models import Model
from synth_ray.job.script import Script
from synth_ray.recipes.contract import Completion, Constraint, user
from synth_ray.records import digest
from tests.batch_server import Provider, batches
from tests.conftest import ENGINE_ARGS, TINY_TEACHER
from tests.endpoint_server import KEY
from tests.servers import serving


def scripted(**script: object) -> Teacher:
    teacher = ScriptedTeacher(Model(engine="scripted", script=Script(**script)))  # type: ignore[arg-type]
    teacher.open()
    return teacher


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[str, str]]:
    """A real `vllm serve` of the bundled tiny teacher: its URL and the model's name."""
    with serving(str(TINY_TEACHER)) as url_and_model:
        yield url_and_model


@pytest.fixture(scope="module")
def served_teacher(served: tuple[str, str]) -> Teacher:
    endpoint_teacher = EndpointTeacher(
        Model.model_validate({"engine": "endpoint", "model": served[1], "endpoint": {"urls": served[0]}})
    )
    endpoint_teacher.open()
    return endpoint_teacher


@pytest.fixture
def batched_teacher(served: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Teacher]:
    """The same server behind a provider's batches."""
    monkeypatch.setenv("TEACHER_KEY", KEY)

    def forward(body: dict[str, Any]) -> tuple[int, Any]:
        reply = httpx.post(f"{served[0]}/chat/completions", json=body, timeout=60)
        return reply.status_code, reply.json()

    with batches(Provider(answer=forward)) as url:
        batch = {"url": url, "key_env": "TEACHER_KEY", "flavour": "vllm", "quiet_s": 0.05, "poll_s": 0.05}
        batch_teacher = BatchApiTeacher(Model.model_validate({"engine": "batch_api", "model": served[1], "batch": batch}))
        batch_teacher.open()
        yield batch_teacher


@pytest.fixture(scope="module")
def threaded_teacher() -> Iterator[Teacher]:
    """The engine on a thread of this process, as with the Ray executor backend."""
    vllm_teacher = VllmTeacher(Model(model=str(TINY_TEACHER), engine_args=ENGINE_ARGS), host=ThreadHost())
    vllm_teacher.open()
    yield vllm_teacher
    vllm_teacher.close()


ENGINES = ("vllm_teacher", "threaded_teacher", "served_teacher", "batched_teacher")
REAL = [pytest.param(name, marks=pytest.mark.vllm) for name in ENGINES]


@pytest.fixture(params=["scripted", *REAL])
def teacher(request: pytest.FixtureRequest) -> Iterator[Teacher]:
    yield scripted(latency_s=0.002) if request.param == "scripted" else request.getfixturevalue(request.param)


def prompt(number: int = 0, **options: object) -> Prompt:
    sampling = {"temperature": 1.0, "max_tokens": 24} | options.pop("sampling", {})  # type: ignore[operator]
    return Prompt(
        [user(f"Write one new customer message.\nIntent: delivery_late\nTone: angry\nNew message {number}:")],
        digest("k", number),
        sampling=sampling,
        **options,
    )  # type: ignore[arg-type]


def ask(teacher: Teacher, *prompts: Prompt) -> list[list[Completion]]:
    async def answer_all() -> list[list[Completion]]:
        return list(await asyncio.gather(*[teacher.answer(p) for p in prompts]))

    return asyncio.run(answer_all())


def test_many_prompts_at_once_are_all_answered_with_counted_tokens(teacher: Teacher) -> None:
    for answers in ask(teacher, *[prompt(i) for i in range(100)]):
        assert len(answers) == 1
        assert answers[0].finish_reason in ("stop", "length")
        assert answers[0].prompt_tokens > 0
        assert 0 <= answers[0].completion_tokens <= 24


def test_n_completions_of_a_prompt_are_sampled_independently(teacher: Teacher) -> None:
    [answers] = ask(teacher, prompt(n=4, sampling={"max_tokens": 20}))
    assert len(answers) == 4
    assert len({a.text for a in answers}) > 1


def test_a_token_limit_holds_and_the_finish_reason_is_length(teacher: Teacher) -> None:
    [[answer]] = ask(teacher, prompt(sampling={"max_tokens": 2}))
    assert answer.completion_tokens <= 2
    assert answer.finish_reason == "length"


def test_choices_constrain_the_answer(teacher: Teacher) -> None:
    choices = ("refund", "delivery")
    for [answer] in ask(teacher, *[prompt(i, constraint=Constraint(choices=choices)) for i in range(8)]):
        assert answer.text in choices


def test_a_json_schema_constrains_the_answer(teacher: Teacher) -> None:
    schema = {
        "type": "object",
        "properties": {"tone": {"enum": ["calm", "angry"]}, "urgent": {"type": "boolean"}},
        "required": ["tone", "urgent"],
        "additionalProperties": False,
    }
    prompts = [prompt(i, constraint=Constraint(json_schema=schema), sampling={"max_tokens": 40}) for i in range(4)]
    for [answer] in ask(teacher, *prompts):
        assert set(json.loads(answer.text)) == {"tone", "urgent"}


def test_logprobs_list_each_token_and_its_most_likely_alternatives(teacher: Teacher) -> None:
    [[answer, _]] = ask(teacher, prompt(n=2, sampling={"logprobs": 3}))
    assert answer.logprobs is not None
    spelled = "".join(token["token"] for token in answer.logprobs)
    assert spelled.strip().startswith(answer.text.strip()), spelled  # the end of the text is a token too
    for token in answer.logprobs:
        assert token["logprob"] <= 0
        assert token["token"] in [alternative["token"] for alternative in token["top"]]
        assert token["top"] == sorted(token["top"], key=lambda alternative: -alternative["logprob"])
    [[plain]] = ask(teacher, prompt())
    assert plain.logprobs is None


def test_a_cancelled_prompt_does_not_affect_the_others(teacher: Teacher) -> None:
    async def cancel_first() -> list[Completion]:
        slow = asyncio.create_task(teacher.answer(prompt(1, sampling={"max_tokens": 200, "temperature": 1.0})))
        other = asyncio.create_task(teacher.answer(prompt(2)))
        await asyncio.sleep(0)
        slow.cancel()
        return await other

    assert len(asyncio.run(cancel_first())) == 1


@pytest.mark.parametrize("real", REAL)
def test_a_prompt_longer_than_the_context_fails_alone(real: str, request: pytest.FixtureRequest) -> None:
    vllm_teacher = request.getfixturevalue(real)
    long = Prompt([user("late order " * 2000)], digest("long"), sampling={"max_tokens": 8})

    async def both() -> list[object]:
        return list(await asyncio.gather(vllm_teacher.answer(long), vllm_teacher.answer(prompt()), return_exceptions=True))

    failed, answered = asyncio.run(both())
    assert isinstance(failed, AskFailed)
    assert failed.reason == "prompt_too_long"
    assert isinstance(answered, list)


def test_chat_template_kwargs_reach_the_template_the_request_body_and_the_models_identity() -> None:
    from transformers import AutoTokenizer

    tokenizer, messages = AutoTokenizer.from_pretrained(TINY_TEACHER), [user("When will the lamp be in stock?")]
    default, changed = (chat_tokens(tokenizer, messages, kwargs) for kwargs in ({}, {"add_generation_prompt": False}))
    assert tokenizer.decode(default) == tokenizer.decode(changed) + "<|assistant|>\n"
    model = Model(model="m", chat_template_kwargs={"enable_thinking": False})
    assert model.identity() != Model(model="m").identity()
    body = request_body(model, Prompt(messages, "0" * 8), flavour="vllm")
    assert body["chat_template_kwargs"] == {"enable_thinking": False}


def test_a_scripted_teacher_gives_the_same_answer_to_the_same_key() -> None:
    prompts = [prompt(i) for i in range(50)]
    assert ask(scripted(), *prompts) == ask(scripted(latency_s=0.001, concurrency=3), *reversed(prompts))[::-1]


def test_a_scripted_teacher_fails_empties_truncates_and_dies_by_its_script() -> None:
    with pytest.raises(AskFailed):
        ask(scripted(fail_share=1.0), prompt())
    assert ask(scripted(empty_share=1.0), prompt())[0][0].text == ""
    assert ask(scripted(truncate_share=1.0), prompt())[0][0].finish_reason == "length"
    dying = scripted(die_after=1)
    ask(dying, prompt())
    with pytest.raises(EngineDied):
        ask(dying, prompt())
    with pytest.raises(EngineDied):
        ask(dying, prompt())
