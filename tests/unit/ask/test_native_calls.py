"""Calls that the model writes itself: how tools are shown to servers and templates, and how calls come back and go along."""

from __future__ import annotations

import asyncio
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import trl

from synth_ray.ask.endpoint_teacher import EndpointTeacher
from synth_ray.ask.openai_protocol import request_body
from synth_ray.ask.teacher import Prompt, TemplateUse
from synth_ray.ask.vllm.chat_template import inspect_template, renderer_of
from synth_ray.ask.vllm.role_thinking import RoleThinking
from synth_ray.ask.vllm.template_thinking import template_thinking
from synth_ray.ask.vllm.tool_calls import CallReader
from synth_ray.errors import JobError, ServiceRefused
from synth_ray.job.bundled import bundled_teacher_path
from synth_ray.job.models import Model
from synth_ray.recipes.contract import Completion
from synth_ray.recipes.markup import call_text, split_calls
from tests.endpoint_server import MODEL, behaving_server

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "add",
            "description": "Add two numbers.",
            "parameters": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}},
        },
    }
]
CALLS = [call_text("add", {"a": 1, "b": 2}), call_text("add", {"a": 3, "b": 4})]
TURNS = [
    {"role": "user", "content": "1 + 2 and 3 + 4?"},
    {"role": "assistant", "content": "I add.\n" + "\n".join(CALLS), "reasoning": "Two sums."},
    {"role": "tool", "content": "3"},
    {"role": "tool", "content": "7"},
]
PROMPT = Prompt(TURNS, "0" * 32, sampling={"max_tokens": 64}, tools=TOOLS)


def test_a_server_gets_tools_and_earlier_calls_in_openais_form_and_its_calls_come_back_as_text() -> None:
    calls = [{"id": "x", "type": "function", "function": {"name": "add", "arguments": '{"a": 3, "b": 7}'}}]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    reply = {"choices": [{"index": 0, "finish_reason": "tool_calls", "message": message}]}
    with behaving_server(lambda _body, _times: (200, reply)) as (url, got):
        teacher = EndpointTeacher(
            Model.model_validate({"engine": "endpoint", "model": MODEL, "endpoint": {"urls": [url], "flavour": "vllm"}})
        )
        teacher.open()
        [answer] = asyncio.run(teacher.answer(PROMPT))
        teacher.close()
    assert split_calls(answer.text)[1] == ['{"arguments":{"a":3,"b":7},"name":"add"}']
    assert answer.is_whole
    body = got[-1]
    assert body["tools"] == TOOLS
    _, assistant, first, second = body["messages"]
    assert assistant["content"] == "I add."
    assert [json.loads(call["function"]["arguments"]) for call in assistant["tool_calls"]] == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]
    assert [turn["tool_call_id"] for turn in (first, second)] == [call["id"] for call in assistant["tool_calls"]]
    assert "Two sums." in (assistant.get("reasoning"), assistant.get("reasoning_content"))


def test_a_server_without_a_chat_cannot_be_shown_tools() -> None:
    fields = {"engine": "endpoint", "model": MODEL, "chat": False, "endpoint": {"urls": ["http://127.0.0.1:1/v1"]}}
    with pytest.raises(ServiceRefused, match=r"recipe\.call"):
        request_body(Model.model_validate(fields), PROMPT)


@cache
def tokenizer(template: str) -> Any:
    from transformers import AutoTokenizer

    found = AutoTokenizer.from_pretrained(bundled_teacher_path())
    found.add_tokens(["<think>", "</think>", "<tool_call>", "</tool_call>"])
    found.chat_template = (Path(trl.__file__).parent / "chat_templates" / f"{template}.jinja").read_text()
    return found


@pytest.mark.parametrize("template", ["qwen3", "qwen3_5_think", "glm4moe", "llama3_1"])
def test_a_template_writes_tools_calls_and_results_as_its_model_learnt_them(template: str) -> None:
    model, found = Model(model="m"), tokenizer(template)
    render = renderer_of(found)
    thinking = RoleThinking(model, found, template_thinking(render, model, where="models.teacher"))
    turns = TURNS if template != "llama3_1" else [TURNS[0], TURNS[1] | {"content": CALLS[0]}, TURNS[2]]
    given = [{name: text for name, text in turn.items() if name != "reasoning"} for turn in turns]
    text = found.decode(thinking.render(given, TOOLS).tokens)
    assert "Add two numbers." in text
    assert CALLS[0] not in text  # but in the template's own markup
    assert '"a": 1' in text or "<parameter=a>" in text or "<arg_key>a</arg_key>" in text
    assert inspect_template(render, model, where="models.teacher", use=TemplateUse(tools=True)) is not None


def test_qwen3_keeps_the_thought_of_a_turn_that_called() -> None:
    model, found = Model(model="m"), tokenizer("qwen3")
    thinking = RoleThinking(model, found, template_thinking(renderer_of(found), model, where="models.teacher"))
    text = found.decode(thinking.render(TURNS, TOOLS).tokens)
    assert text.count("Two sums.") == 1
    assert text.count('<tool_call>\n{"name": "add"') == 2
    assert text.count("<tool_response>") == 2


def test_a_template_that_shows_no_tools_stops_the_job() -> None:
    with pytest.raises(JobError, match="say call: guided"):
        inspect_template(renderer_of(tokenizer("gemma")), Model(model="m"), where="models.teacher", use=TemplateUse(tools=True))


@pytest.mark.parametrize(
    ("parser", "written"),
    [
        ("hermes", 'I add.\n<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>'),
        ("pythonic", "[add(a=1, b=2)]"),
        ("granite", '<|tool_call|>[{"name": "add", "arguments": {"a": 1, "b": 2}}]'),
        ("xlam", '[{"name": "add", "arguments": {"a": 1, "b": 2}}]'),
        (
            "glm45",
            "<tool_call>add\n<arg_key>a</arg_key>\n<arg_value>1</arg_value>\n<arg_key>b</arg_key>\n<arg_value>2</arg_value>\n</tool_call>",
        ),
        (
            "qwen3_coder",
            "<tool_call>\n<function=add>\n<parameter=a>\n1\n</parameter>\n<parameter=b>\n2\n</parameter>\n</function>\n</tool_call>",
        ),
    ],
)  # fmt: skip
def test_vllms_parsers_read_what_their_models_write(parser: str, written: str) -> None:
    reader = CallReader(tokenizer("qwen3"), parser, where="models.teacher")
    assert CALLS[0] in reader.read(written, TOOLS)
    assert reader.read("No call.", TOOLS) == "No call."


def test_a_parser_that_is_not_there_or_does_not_fit_stops_the_job() -> None:
    with pytest.raises(JobError, match=r"it has .*hermes"):
        CallReader(tokenizer("qwen3"), "hermse", where="models.teacher")
    with pytest.raises(JobError, match="fits the model's tokenizer"):
        CallReader(tokenizer("qwen3"), "llama3_json", where="models.teacher")


def test_what_a_parser_cannot_read_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = CallReader(tokenizer("qwen3"), "hermes", where="models.teacher")

    def refuse(*_: Any) -> Any:
        raise IndexError

    monkeypatch.setattr("synth_ray.ask.vllm.internals.parse_calls", refuse)
    assert reader.read("I add. <tool_call>{", TOOLS) == "I add. <tool_call>{"


def test_without_a_parser_the_text_is_left_as_it_is() -> None:
    reader = CallReader(tokenizer("qwen3"), "", where="models.teacher")
    assert reader.read(CALLS[0], TOOLS) == CALLS[0]
    assert Completion(CALLS[0], "tool_calls", 1, 1).is_whole
