"""Servers that think: how each kind is told to, what comes back, and how tokens are divided, over real HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.ask.endpoint_teacher import EndpointTeacher
from synth_ray.ask.openai_replies import answers_in
from synth_ray.ask.server_thinking import flavour_of
from synth_ray.ask.teacher import Prompt
from synth_ray.ask.usage import usage_in
from synth_ray.errors import JobError, ServiceRefused
from synth_ray.job.models import Model
from tests.endpoint_server import MODEL, Reply, behaving_server
from tests.unit.ask.test_server_behaviours import ask, outcome, prompt, reply

BOTH = {"enable_thinking": False, "thinking": False}


def thinking_teacher(url: str, reasoning: Any, flavour: str = "auto", **model: Any) -> EndpointTeacher:
    section = {"urls": [url], "timeout_s": 5, "flavour": flavour}
    fields = {"engine": "endpoint", "model": MODEL, "endpoint": section, "reasoning": reasoning, **model}
    opened = EndpointTeacher(Model.model_validate(fields))
    opened.open()
    return opened


def owned_by(owner: str) -> Any:
    return lambda _path: (200, {"data": [{"id": MODEL, "owned_by": owner}]})


@pytest.mark.parametrize(
    ("owner", "flavour", "reasoning", "sent"),
    [
        ("vllm", "auto", False, {"chat_template_kwargs": BOTH}),
        ("vllm", "auto", {"budget": 50}, {"thinking_token_budget": 50, "max_tokens": 562}),
        ("vllm", "auto", {"think": False, "budget": 50}, {"chat_template_kwargs": BOTH}),
        ("vllm", "auto", {"effort": "low"}, {"reasoning_effort": "low"}),
        ("sglang", "auto", False, {"chat_template_kwargs": BOTH}),
        ("llamacpp", "auto", {"effort": "low"}, {"chat_template_kwargs": {"reasoning_effort": "low"}}),
        ("deepseek", "auto", True, {"thinking": {"type": "enabled"}}),
        ("deepseek", "auto", {"think": False}, {"thinking": {"type": "disabled"}}),
        ("x", "openrouter", {"think": True, "effort": "high"}, {"reasoning": {"enabled": True, "effort": "high"}}),
        ("x", "openrouter", {"budget": 50}, {"reasoning": {"max_tokens": 50}, "max_tokens": 562}),
        ("openai", "auto", {"effort": "high"}, {"reasoning_effort": "high"}),
        ("openai", "auto", True, {"reasoning_effort": "medium"}),
        ("openai", "auto", False, {"reasoning_effort": "none"}),
        ("openai", "auto", None, {}),
    ],
)
def test_each_kind_of_server_is_told_in_its_own_way(owner: str, flavour: str, reasoning: Any, sent: dict[str, Any]) -> None:
    with behaving_server(lambda _body, _times: reply(), owned_by(owner)) as (url, got):
        ask(thinking_teacher(url, reasoning, flavour), prompt())
    asked = got[-1]
    names = ("chat_template_kwargs", "thinking_token_budget", "reasoning_effort", "thinking", "reasoning")
    assert {name: asked[name] for name in names if name in asked} == {n: v for n, v in sent.items() if n != "max_tokens"}
    assert asked["max_tokens"] == sent.get("max_tokens", 512)


def test_hosts_tell_their_dialect_and_the_job_has_the_last_word() -> None:
    assert flavour_of("auto", "", "https://api.deepseek.com/v1") == "deepseek"
    assert flavour_of("auto", "", "https://openrouter.ai/api/v1") == "openrouter"
    assert flavour_of("auto", "", "https://notopenrouter.ai/api/v1") == "openai"
    assert flavour_of("openai", "vllm", "https://openrouter.ai/api/v1") == "openai"


def refusing(*names: str) -> Any:
    def behave(body: dict[str, Any], _times: int) -> Reply:
        refused = next((name for name in names if name in body), None)
        if refused is None:
            return reply()
        return 400, {"error": {"message": f"Unrecognized request argument supplied: {refused}", "param": refused}}

    return behave


def test_a_server_that_refuses_one_way_is_told_in_the_next_and_that_is_told() -> None:
    with behaving_server(refusing("reasoning_effort", "max_tokens")) as (url, got):
        opened = thinking_teacher(url, False)
        ask(opened, prompt("one"), prompt("two"))
        ask(opened, prompt("three"))
        notes = opened.load().notes
    assert got[-1]["chat_template_kwargs"] == BOTH and got[-1]["max_completion_tokens"] == 512
    assert any("the server refuses reasoning_effort; chat_template_kwargs tells it" in note for note in notes)


@pytest.mark.parametrize(
    ("reasoning", "more", "refused", "key"),
    [
        (False, {}, ("reasoning_effort", "chat_template_kwargs", "thinking"), r"models\.teacher\.reasoning\.think"),
        ({"effort": "low"}, {}, ("reasoning_effort",), r"models\.teacher\.reasoning\.effort"),
        (None, {"chat_template_kwargs": {"custom": 1}}, ("chat_template_kwargs",), r"models\.teacher\.chat_template_kwargs"),
    ],
)
def test_a_server_that_takes_no_way_stops_the_run_with_the_jobs_key(
    reasoning: Any, more: dict[str, Any], refused: tuple[str, ...], key: str
) -> None:
    with behaving_server(refusing(*refused)) as (url, _):
        opened = thinking_teacher(url, reasoning, **more)
        with pytest.raises(ServiceRefused, match=rf"^{key}: wanted a server that takes"):
            ask(opened, prompt())


def test_a_model_that_cannot_stop_thinking_stops_the_run() -> None:
    def behave(_body: dict[str, Any], _times: int) -> Reply:
        message = "Unsupported value: 'reasoning_effort' must be between 'low' and 'high'"
        return 400, {"error": {"message": message, "param": "reasoning_effort", "code": "unsupported_value"}}

    with behaving_server(behave) as (url, _), pytest.raises(ServiceRefused, match=r"^models\.teacher\.reasoning\.think: wanted"):
        ask(thinking_teacher(url, False), prompt())


def test_a_budget_needs_a_server_that_limits_thoughts() -> None:
    message = r"^models\.teacher\.reasoning\.budget: wanted a server that limits a thought .* got deepseek"
    with behaving_server(lambda _body, _times: reply(), owned_by("deepseek")) as (url, _), pytest.raises(JobError, match=message):
        thinking_teacher(url, {"budget": 9})


def test_a_server_that_thinks_although_it_was_told_not_to_is_told() -> None:
    with behaving_server(lambda _body, _times: reply(reasoning="Hm.")) as (url, _):
        opened = thinking_teacher(url, False)
        ask(opened, prompt("one"), prompt("two"))
        assert [note for note in opened.load().notes if "thinks all the same" in note] == list(opened.load().notes)


TALK = [
    {"role": "user", "content": "2+2?"},
    {"role": "assistant", "content": "<tool_call>", "reasoning": "I add."},
    {"role": "tool", "content": "4"},
    {"role": "assistant", "content": "It is 4.", "reasoning": "So."},
    {"role": "user", "content": "Sure?"},
]


@pytest.mark.parametrize(
    ("owner", "key", "thoughts"),
    [
        ("vllm", "reasoning", ["I add.", "So."]),
        ("sglang", "reasoning_content", ["I add.", "So."]),
        ("deepseek", "reasoning_content", ["I add.", None]),
        ("openai", "reasoning", [None, None]),
    ],
)
def test_earlier_thoughts_are_sent_back_where_the_server_takes_or_wants_them(owner: str, key: str, thoughts: list[Any]) -> None:
    with behaving_server(lambda _body, _times: reply(), owned_by(owner)) as (url, got):
        ask(thinking_teacher(url, None), Prompt(TALK, "0" * 32, sampling={"max_tokens": 9}))
    turns = [turn for turn in got[-1]["messages"] if turn["role"] == "assistant"]
    assert [turn.get(key) for turn in turns] == thoughts
    assert all({"role", "content"} <= set(turn) <= {"role", "content", key} for turn in turns)


@pytest.mark.parametrize(
    "said",
    [
        reply(reasoning="Hm.", reasoning_content="Older."),
        reply(reasoning_content="Hm."),
        reply([{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "An answer."}]),
        reply(reasoning=None, reasoning_details=[{"type": "reasoning.text", "text": "Hm."}]),
        reply("<think>Hm.</think>An answer."),
        reply("Hm.\n</think>\n\nAn answer."),
    ],
)
def test_a_thought_is_found_in_every_form_and_counted(said: Reply) -> None:
    told = said[0], said[1] | {"usage": {"prompt_tokens": 9, "completion_tokens": 40, **DETAILS}}
    with behaving_server(lambda _body, _times: told) as (url, _):
        ended = outcome(thinking_teacher(url, None))
    [draft] = ended.drafts
    assert (draft.completion, draft.reasoning, draft.completion_tokens, draft.reasoning_tokens) == ("An answer.", "Hm.", 40, 30)
    assert (ended.completion_tokens, ended.reasoning_tokens) == (40, 30)


DETAILS = {"completion_tokens_details": {"reasoning_tokens": 30}}


def test_a_thought_without_an_answer_is_no_answer() -> None:
    with behaving_server(lambda _body, _times: reply(None, "length", reasoning="Hm, so")) as (url, _):
        [[answer]] = ask(thinking_teacher(url, None), prompt())
    assert answer.is_cut_in_thought and answer.finish_reason == "length"


def choice(index: int, text: str, thought: str) -> dict[str, Any]:
    return {"index": index, "finish_reason": "stop", "message": {"content": text, "reasoning": thought}}


def test_tokens_of_several_answers_are_divided_by_thought_and_text() -> None:
    choices = [choice(0, "", "h" * 300), choice(1, "a" * 100, "")]
    usage = {"prompt_tokens": 5, "completion_tokens": 400}
    assert [a.completion_tokens for a in answers_in({"choices": choices, "usage": usage})] == [300, 100]
    counted = usage | {"completion_tokens_details": {"reasoning_tokens": 350}}
    answers = answers_in({"choices": choices, "usage": counted})
    assert [(a.completion_tokens, a.reasoning_tokens) for a in answers] == [(350, 350), (50, 0)]


COUNT = st.integers(0, 10_000)
TEXTS = st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20)), min_size=1, max_size=6)


@given(TEXTS, COUNT, COUNT)
def test_divided_tokens_add_up_and_a_thought_is_part_of_its_answer(
    texts: list[tuple[str, str]], answer: int, thought: int
) -> None:
    details = {"completion_tokens_details": {"reasoning_tokens": thought}}
    usage = usage_in({"usage": {"prompt_tokens": 3, "completion_tokens": answer + thought, **details}}, texts)
    told = [count for count in usage.completions if count is not None]
    assert sum(told) == (answer + thought if told else 0)
    if thought:
        pairs = list(zip(usage.completions, usage.thoughts, strict=True))
        assert sum(part or 0 for _, part in pairs) == thought
        assert all(whole is not None and part is not None and whole >= part >= 0 for whole, part in pairs)


def test_a_server_that_counts_thoughts_beside_the_answer_is_read_by_its_total() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 45, **DETAILS}
    assert usage_in({"usage": usage}, [("text", "thought")]).completions == [35]
    assert usage_in({"usage": usage | {"total_tokens": 15, "completion_tokens": 35}}, [("text", "")]).completions == [35]
