"""What servers of OpenAI's protocol do, and what becomes of an ask: a table of behaviours and outcomes, over real HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.ask.asker import Asker
from synth_ray.ask.deadline import Deadline
from synth_ray.ask.endpoint_teacher import EndpointTeacher
from synth_ray.ask.openai_replies import answers_in, completions_in
from synth_ray.ask.server_errors import Meaning, error_for_status, error_in
from synth_ray.ask.server_text import room_in, wait_in
from synth_ray.ask.teacher import Prompt
from synth_ray.errors import AskFailed, MissingResource, ServiceRefused
from synth_ray.job.models import Model
from synth_ray.job.sampling import Sampling
from synth_ray.recipes import distill
from synth_ray.recipes.contract import Completion, user
from synth_ray.recipes.finish_reasons import fault_of_ending, finish_reason_of
from synth_ray.records import Outcome, Reason, Request, Seed
from tests.endpoint_server import MODEL, Reply, behaving_server, listed

Behave = Callable[[dict[str, Any], int], Reply]


def reply(content: Any = "An answer.", finish: Any = "stop", *, n: int = 1, usage: Any = ..., **message: Any) -> Reply:
    """A 200 with `n` choices."""
    choices = [{"index": i, "finish_reason": finish, "message": {"content": content, **message}} for i in range(n)]
    counted = {"prompt_tokens": 9, "completion_tokens": 4 * n} if usage is ... else usage
    return 200, {"choices": choices, "usage": counted}


def error(status: int, message: str = "", headers: dict[str, str] | None = None, **fields: Any) -> Reply:
    return status, {"error": {"message": message, **fields}}, headers or {}


def teacher(url: str, **endpoint: Any) -> EndpointTeacher:
    section = {"urls": [url], "timeout_s": 5, "retries": 3} | endpoint
    opened = EndpointTeacher(Model.model_validate({"engine": "endpoint", "model": MODEL, "endpoint": section}))
    opened.open()
    return opened


def prompt(text: str = "question", n: int = 1, **sampling: Any) -> Prompt:
    return Prompt([user(text)], "0" * 32, n, sampling={"temperature": 0.8, "max_tokens": 512} | sampling)


def ask(opened: EndpointTeacher, *prompts: Prompt) -> list[list[Completion]]:
    async def all_of_them() -> list[list[Completion]]:
        return list(await asyncio.gather(*map(opened.answer, prompts)))

    return asyncio.run(all_of_them())


def outcome(opened: EndpointTeacher, **recipe: Any) -> Outcome:
    """One request of `distill`, from ask to outcome."""
    options = distill.Distill(**recipe)
    asker = Asker(
        distill.RECIPE,
        options=options,
        teachers={"teacher": opened},
        sampling=Sampling(max_tokens=512),
        deadline=Deadline(30, tokens=1),
    )
    request = Request("r" * 32, 0, 0, Seed("s", "l", "train", {"prompt": "question"}), options.n)
    return asyncio.run(asker.run(request))


TOO_LONG = (
    "This model's maximum context length is 512 tokens. However, you requested {} tokens "
    "({} in the messages, {} in the completion)."
)

ENDINGS: dict[str, tuple[Reply, Reason | None, str]] = {
    "stop": (reply(), None, "An answer."),
    "null": (reply(finish=None), None, "An answer."),
    "tgi": (reply(finish="eos_token"), None, "An answer."),
    "anthropic": (reply(finish="end_turn"), None, "An answer."),
    "cut by the limit": (reply(finish="MAX_TOKENS"), None, "An answer."),  # the checks decide
    "cut by a filter": (reply("An ans", "content_filter"), Reason.TRUNCATED, "An ans"),
    "filtered whole": (reply(None, "content_filter"), Reason.MODERATED, ""),
    "safety": (reply("", "SAFETY"), Reason.MODERATED, ""),
    "another word": (reply("An ans", "pause_turn"), Reason.TRUNCATED, "An ans"),
    "another type": (reply("An ans", {"type": "stop"}), Reason.TRUNCATED, "An ans"),
    "an error that stays": (reply("An ans", "error"), Reason.ENGINE_ERROR, ""),
    "parts": (reply([{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": "An "},
                     {"type": "text", "text": "answer."}]), None, "An answer."),
    "strings as parts": (reply(["An ", "answer."]), None, "An answer."),
    "an image": (reply([{"type": "image_url"}, {"type": "text", "text": "a"}]), Reason.ENGINE_ERROR, "a"),
    "a number": (reply(42), Reason.ENGINE_ERROR, ""),
    "null content": (reply(None, "length"), None, ""),
    "no content": ((200, {"choices": [{"finish_reason": "length", "message": {"role": "assistant"}}]}), None, ""),
    "refusal": (reply(None, refusal="I cannot."), Reason.REFUSAL, ""),
    "refusal part": (reply([{"type": "refusal", "refusal": "I cannot."}]), Reason.REFUSAL, ""),
    "refusal by its ending": (reply("", "refusal"), Reason.REFUSAL, ""),
    "a call": (reply(None, "tool_calls", tool_calls=[{"type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]),
               None, '<tool_call>{"arguments":{"a":1},"name":"f"}</tool_call>'),
    "an old call": (reply(None, "function_call", function_call={"name": "f", "arguments": "{a"}), None,
                    '<tool_call>{"arguments":"{a","name":"f"}</tool_call>'),
    "null message": ((200, {"choices": [{"index": 0, "message": None}]}), Reason.ENGINE_ERROR, ""),
    "null choice": ((200, {"choices": [None]}), Reason.ENGINE_ERROR, ""),
    "null choices": ((200, {"choices": None}), Reason.ENGINE_ERROR, ""),
    "no choices": ((200, {}), Reason.ENGINE_ERROR, ""),
    "no object": ((200, [1, "two"]), Reason.ENGINE_ERROR, ""),
    "an error inside 200": ((200, {"error": {"code": 400, "message": "no"}}), Reason.ENGINE_ERROR, ""),
    "moderation inside 200": ((200, {"error": {"code": 403, "message": "flagged by moderation"}}), Reason.MODERATED, ""),
    "moderation 400": (error(400, "filtered", code="content_filter"), Reason.MODERATED, ""),
    "moderation 403": (error(403, "Your input was flagged. No credits were charged.", code=403), Reason.MODERATED, ""),
    "451": (error(451), Reason.MODERATED, ""),
    "413": (error(413), Reason.PROMPT_TOO_LONG, ""),
    "422": (error(422, "odd"), Reason.ENGINE_ERROR, ""),
    "the prompt alone is too long": (error(400, TOO_LONG.format(1112, 600, 512)), Reason.PROMPT_TOO_LONG, ""),
    "too long, without numbers": (error(400, "the request exceeds the available context size"), Reason.PROMPT_TOO_LONG, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDINGS)
def test_a_reply_ends_as_a_draft_or_with_the_reason_of_its_row(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synth_ray.ask.endpoint_teacher._WAIT_S", 0.0)
    said, reason, text = ENDINGS[name]
    with behaving_server(lambda _body, _times: said) as (url, got):
        [draft] = outcome(teacher(url)).drafts
    assert (draft.reason, draft.completion) == (reason, text)
    assert len(got) == 1 or reason in (Reason.ENGINE_ERROR, Reason.PROMPT_TOO_LONG)  # nothing is paid twice


REFUSED: dict[str, tuple[Reply, str]] = {
    "key": (error(401, "Incorrect API key"), "HTTP 401 .*the key is refused; check the key .THE_KEY."),
    "credit": (error(402, "pay"), "HTTP 402 .*credit or quota is used up"),
    "quota": (error(429, "You exceeded your current quota", code="insufficient_quota"), "HTTP 429 .*credit or quota"),
    "balance": (error(400, "Your credit balance is too low"), "HTTP 400 .*credit or quota"),
    "403 for all": (error(403, "no"), "HTTP 403 from .*chat/completions; check what the key is allowed to do"),
    "model": (error(404, "The model does not exist", code="model_not_found"), "the model is not there; check models.model"),
    "path": ((404, b"<html>nothing here</html>"), "nothing is served at this address; check the URL"),
    "web page": ((200, b"<html>welcome</html>", {"Content-Type": "text/html"}), r"\(a web page\)"),
    "redirect": ((302, b"", {"Location": "https://elsewhere.example/v1/chat/completions?key=x"}),
                 r"a redirect to https://elsewhere.example/v1/chat/completions\)"),
    "top_p": (error(400, "top_p is not supported"), r"sampling\.top_p: wanted a server that takes top_p, got HTTP 400"),
    "stop": (error(400, "Unsupported parameter", param="stop", code="unsupported_parameter"), r"sampling\.stop: wanted"),
    "temperature": (error(400, "temperature must be between 0 and 0.5"), r"sampling\.temperature: wanted"),
    "system": (error(400, "System role not supported"), r"recipe\.system: wanted"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_refuses_every_ask_stops_the_run_and_says_what_to_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", "sk-never-shown")
    said, message = REFUSED[name]
    with behaving_server(lambda _body, _times: said) as (url, got):
        opened = teacher(url, key_env="THE_KEY")
        for _ in range(2):  # the second is not sent
            with pytest.raises(ServiceRefused, match=message) as refused:
                ask(opened, prompt(top_p=0.5, stop=["x"]))
    assert "sk-never" not in str(refused.value) and "key=x" not in str(refused.value)
    assert len(got) <= 2


def test_a_403_without_a_reason_is_the_prompts_own_where_others_are_answered() -> None:
    def behave(body: dict[str, Any], _times: int) -> Reply:
        return error(403, "no") if "bad" in body["messages"][0]["content"] else reply()

    with behaving_server(behave) as (url, _):
        opened = teacher(url)
        with pytest.raises(AskFailed) as refused:
            ask(opened, prompt("bad"))
        assert refused.value.reason == "moderated"
        assert len(ask(opened, *[prompt(f"good {i}") for i in range(8)])) == 8


def test_refused_parameters_are_adapted_once_for_all_and_told() -> None:
    def behave(body: dict[str, Any], _times: int) -> Reply:
        if "max_tokens" in body:
            return error(400, "Use 'max_completion_tokens' instead.", param="max_tokens", code="unsupported_parameter")
        if "temperature" in body:
            return error(400, "Unsupported value: temperature does not support 0.8. Only the default (1) is supported.")
        if "top_p" in body:
            return 422, {"detail": [{"loc": ["body", "top_p"], "msg": "Extra inputs are not permitted"}]}
        return reply() if body["max_completion_tokens"] == 512 else error(500)

    with behaving_server(behave) as (url, got):
        opened = teacher(url)
        ask(opened, prompt("first", top_p=1.0))
        assert len(got) == 4
        ask(opened, *[prompt(f"later {i}", top_p=1.0) for i in range(5)])
        assert len(got) == 9
    assert [note.split(":")[0] for note in opened.load().notes] == ["max_tokens", "sampling.temperature", "sampling.top_p"]


@pytest.mark.parametrize("refuses_n", [False, True])
def test_a_server_that_gives_one_answer_is_asked_for_the_others_one_by_one(refuses_n: bool) -> None:
    def behave(body: dict[str, Any], times: int) -> Reply:
        return error(400, "n must be 1", param="n") if refuses_n and "n" in body else reply(f"answer {times}")

    with behaving_server(behave) as (url, got):
        opened = teacher(url)
        [answers] = ask(opened, prompt(n=3, per_request_seed=True))
        assert len({a.text for a in answers}) == 3
        assert len(got) == 3 + refuses_n
        assert len({body["seed"] for body in got}) == 3
        assert [a.asked_alone for a in answers] == [False, True, True]
        ended = outcome(opened, n=3)
    assert ended.prompt_tokens == 27
    assert [draft.prompt_tokens for draft in ended.drafts] == [9, 9, 9]


def test_more_answers_than_asked_for_are_left() -> None:
    with behaving_server(lambda _body, _times: reply(n=5)) as (url, got):
        assert len(ask(teacher(url), prompt(n=2))[0]) == 2
    assert len(got) == 1


def test_max_tokens_is_clipped_to_the_room_that_the_server_tells() -> None:
    def behave(body: dict[str, Any], _times: int) -> Reply:
        asked = body["max_tokens"]
        return reply() if asked + 30 <= 512 else error(400, TOO_LONG.format(asked + 30, 30, asked))

    with behaving_server(behave, lambda _: (200, [{"id": MODEL, "context_length": 512}])) as (url, got):
        ask(teacher(url), prompt())
    assert [body["max_tokens"] for body in got] == [511, 482]


def test_what_fails_for_now_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synth_ray.ask.endpoint_teacher._WAIT_S", 0.0)
    failures: list[Reply] = [
        error(408),
        error(409),
        error(425),
        error(500),
        error(503),
        error(529),
        (200, b'{"choices": [{"mess'),
    ]
    failures += [error(429, "later", {"Retry-After": "0.1"}), error(429, "Please try again in 20ms"), reply(finish="error")]
    with behaving_server(lambda _body, times: failures[times - 1] if times <= len(failures) else reply()) as (url, got):
        opened = teacher(url, retries=20)
        opened_ask = [completion.text for [completion] in ask(opened, prompt())]
    assert opened_ask == ["An answer."]
    assert len(got) == len(failures) + 1


def test_a_server_that_is_only_busy_is_no_dead_engine() -> None:
    busy = error(429, "slow down", {"Retry-After": "0.05"})
    with behaving_server(lambda _body, _times: busy) as (url, _), pytest.raises(ServiceRefused, match="got HTTP 429 alone"):
        ask(teacher(url, dead_after_s=0.3), prompt())


@pytest.mark.parametrize(
    ("headers", "says", "seconds"),
    [
        ({"retry-after": "3600"}, "", 3600.0),
        ({"retry-after": "0.5"}, "", 0.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, "", 1.5),
        ({"retry-after": "soon"}, "", 0.0),
        ({}, "please try again in 1m30s.", 90.0),
        ({}, "please retry in 22.5s", 22.5),
        ({}, "busy", 0.0),
    ],
)
def test_the_whole_wait_is_obeyed(headers: dict[str, str], says: str, seconds: float) -> None:
    assert wait_in(headers, says) == seconds


def test_a_wait_may_be_a_date() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True)
    assert 7100 < wait_in({"retry-after": date}, "") <= 7200


MODELS: dict[str, Reply] = {
    "bare list": (200, [{"id": MODEL}]),
    "names": (200, {"data": [MODEL]}),
    "under models": (200, {"models": [{"name": MODEL}]}),
    "prefixed": (200, {"data": [{"id": f"models/{MODEL}"}]}),
    "empty": (200, {"data": []}),
    "none": error(404),
    "not allowed": error(405),
    "forbidden": error(403),
    "a page": (200, b"<html></html>", {"Content-Type": "text/html"}),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_list_of_models_has_many_forms_and_is_not_needed(name: str) -> None:
    with behaving_server(lambda _body, _times: reply(), lambda _: MODELS[name]) as (url, got):
        teacher(url)
        assert len(got) == (name in ("empty", "none", "not allowed", "forbidden", "a page"))  # asked once, to see


def test_a_redirect_is_followed_at_the_same_server() -> None:
    def models(path: str) -> Reply:
        return (307, b"", {"Location": "/v1/models/"}) if not path.endswith("/") else listed(path)

    def behave(body: dict[str, Any], _times: int) -> Reply:
        return (307, b"", {"Location": "/v2/chat"}) if len(got) == 1 else reply()

    with behaving_server(behave, models) as (url, got):
        opened = teacher(url)
        ask(opened, prompt())
    assert [body["path"] for body in got] == ["/v1/chat/completions", "/v2/chat"]


def test_an_url_without_its_path_is_named_with_the_right_one() -> None:
    def models(path: str) -> Reply:
        return listed(path) if path == "/v1/models" else error(404)

    message = r"HTTP 404.* at http://127.*/chat/completions; http://127.*/v1 has a list"
    with behaving_server(lambda _body, _times: error(404), models) as (url, _), pytest.raises(MissingResource, match=message):
        teacher(url.removesuffix("/v1"))


def test_a_list_that_asks_for_money_is_no_missing_server() -> None:
    refusing = behaving_server(lambda _body, _times: reply(), lambda _: error(402))
    with refusing as (url, _), pytest.raises(ServiceRefused, match="credit or quota"):
        teacher(url)


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        (None, (None, None)),
        ({}, (None, None)),
        ("n/a", (None, None)),
        ({"completion_tokens": "n/a", "prompt_tokens": None}, (None, None)),
        ({"completion_tokens": 12.0, "prompt_tokens": -1}, (None, 12)),
        ({"completion_tokens": 0, "prompt_tokens": 0}, (None, None)),
        ({"input_tokens": 7, "output_tokens": 5}, (7, 5)),
        ({"prompt_tokens": 7, "total_tokens": 12}, (7, 5)),
        ({"prompt_tokens": 7, "completion_tokens": True, "prompt_tokens_details": 3}, (7, None)),
    ],
)
def test_a_count_that_is_not_told_is_unknown_and_estimated_for_the_cost(usage: Any, tokens: tuple[int | None, ...]) -> None:
    with behaving_server(lambda _body, _times: reply(usage=usage)) as (url, _):
        ended = outcome(teacher(url))
    assert (ended.drafts[0].prompt_tokens, ended.drafts[0].completion_tokens) == tokens
    assert ended.prompt_tokens > 0 and ended.completion_tokens > 0
    assert (ended.estimated_tokens > 0) == (None in tokens)


@pytest.mark.parametrize(
    "said",
    [reply(reasoning_content="Hm."), reply(reasoning="Hm."), reply("<think>Hm.</think>An answer.")],
    ids=["reasoning_content", "reasoning", "marks in the text"],
)
def test_thought_is_kept_apart_from_the_answer(said: Reply) -> None:
    with behaving_server(lambda _body, _times: said) as (url, _):
        [draft] = outcome(teacher(url)).drafts
    assert (draft.completion, draft.reasoning) == ("An answer.", "Hm.")


@pytest.mark.parametrize(
    ("text", "asked", "room"),
    [
        (TOO_LONG.format(542, 30, 512), 512, 482),
        (
            "'max_tokens' is too large: 512. maximum context length is 512 tokens and your request has 30 (512 > 512 - 30).",
            512,
            482,
        ),
        ("max_tokens is too large: 5000. This model supports at most 4096 completion tokens.", 5000, 4096),
        ("`inputs` tokens + `max_new_tokens` must be <= 2048. Given: 30 `inputs` tokens and 2048", 2048, 2018),
        ("input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000", 20000, 10000),
        ("maximum context length is 8,192 tokens. However, your messages resulted in 9,000 tokens.", 512, 0),
        ("prompt is too long: 210000 tokens > 200000 maximum", 512, 0),
        ("Please reduce the length of the messages", 512, None),
    ],
)
def test_the_room_is_read_from_the_numbers_of_the_refusal(text: str, asked: int, room: int | None) -> None:
    said = error_in(400, json.dumps({"error": {"message": text}}), sent=("max_tokens",))
    assert said.meaning is Meaning.TOO_LONG
    assert room_in(said.text, asked) == room


def test_an_error_without_a_server_to_adapt_to_names_the_jobs_key() -> None:
    said = error_for_status(400, json.dumps({"error": {"message": "no", "param": "max_tokens", "code": "unsupported_parameter"}}))
    assert isinstance(said, ServiceRefused) and "sampling.max_tokens" in str(said)
    assert isinstance(error_for_status(422, "odd"), AskFailed)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
CHOICE = st.fixed_dictionaries(
    {},
    optional={
        "index": JSON,
        "finish_reason": JSON | st.sampled_from(["stop", "length", "error", "content_filter"]),
        "message": JSON
        | st.fixed_dictionaries(
            {},
            optional={"content": JSON, "refusal": JSON, "tool_calls": JSON, "function_call": JSON, "reasoning": JSON},
        ),
        "text": JSON,
        "logprobs": JSON | st.fixed_dictionaries({"content": JSON}),
        "error": JSON,
    },
)


@given(JSON | st.fixed_dictionaries({"choices": JSON | st.lists(JSON | CHOICE, max_size=4)}, optional={"usage": JSON}))
def test_any_json_is_answers_or_none(body: Any) -> None:
    for answer in answers_in(body):
        assert isinstance(answer.text, str) and isinstance(answer.reasoning, str)
        assert all(count is None or 0 <= count < 2**31 for count in (answer.prompt_tokens, answer.completion_tokens))
        fault_of_ending(answer.finish_reason, answer.text)
    assert completions_in(body, 1) is None or len(completions_in(body, 1) or ()) == 1


@given(
    st.integers(100, 599), JSON | st.fixed_dictionaries({"error": JSON | st.fixed_dictionaries({"message": JSON, "code": JSON})})
)
def test_any_error_has_a_meaning(status: int, body: Any) -> None:
    said = error_in(status, json.dumps(body), sent=("temperature", "n"), headers={"retry-after": "x"})
    assert said.parameter in ("", "temperature", "n")
    error_for_status(status, json.dumps(body))


@given(JSON)
def test_an_ending_is_whole_only_by_a_known_word(word: Any) -> None:
    ending = finish_reason_of(word)
    assert fault_of_ending(ending, "text") is not None or ending in ("stop", "tool_calls", "length")
