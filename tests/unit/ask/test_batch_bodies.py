"""What is sent to each provider of batches, what is refused by name instead, and how its answers are read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.ask.batches import anthropic, bedrock, gemini
from synth_ray.ask.batches.anthropic_messages import message_params
from synth_ray.ask.batches.anthropic_messages import reply_of as anthropic_reply
from synth_ray.ask.batches.bedrock_converse import converse_input
from synth_ray.ask.batches.bedrock_converse import reply_of as bedrock_reply
from synth_ray.ask.batches.gemini_content import content_request
from synth_ray.ask.batches.gemini_content import reply_of as gemini_reply
from synth_ray.ask.batches.providers import refuse_unfit
from synth_ray.ask.batches.results import reply_in
from synth_ray.ask.openai_replies import completions_in
from synth_ray.ask.spent import Spent
from synth_ray.ask.teacher import Prompt
from synth_ray.errors import JobError
from synth_ray.job.load import job_from
from synth_ray.job.models import Model
from synth_ray.job.sampling import Sampling
from synth_ray.job.served import BatchApi, Prices
from synth_ray.recipes.contract import Completion, Constraint, user
from synth_ray.recipes.markup import call_text
from synth_ray.route.model_preflight import model_checks

BEDROCK = {"provider": "bedrock", "role_arn": "arn:aws:iam::123456789012:role/r", "s3": "s3://bucket/p", "region": "us-east-1"}
SECTIONS: dict[str, dict[str, Any]] = {
    "openai": {"provider": "openai"},
    "anthropic": {"provider": "anthropic"},
    "gemini": {"provider": "gemini"},
    "bedrock": BEDROCK,
}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
MESSAGES = [{"role": "system", "content": "be brief"}, user("q"), {"role": "assistant", "content": "a"}, user("r")]


def model(provider: str, batch: dict[str, Any] | None = None, **more: Any) -> Model:
    section = {"engine": "batch_api", "model": "m", "batch": SECTIONS[provider] | (batch or {})}
    return Model.model_validate(section | more)


def sampling(**changes: Any) -> dict[str, Any]:
    return Sampling(max_tokens=64, **changes).model_dump()


def prompt(constraint: Constraint | None = None, n: int = 1, **changes: Any) -> Prompt:
    return Prompt(MESSAGES, "0" * 8 + "f" * 24, n=n, sampling=sampling(**changes), constraint=constraint)


def test_anthropic_is_sent_messages_with_its_own_names() -> None:
    own = {"temperature": 0.5, "top_k": 5, "stop": ["END"]}
    assert message_params(model("anthropic", {"cache_prompts": "1h"}), prompt(Constraint(json_schema=SCHEMA), **own)) == {
        "model": "m",
        "max_tokens": 64,
        "system": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        "messages": MESSAGES[1:],
        "temperature": 0.5,
        "top_k": 5,
        "stop_sequences": ["END"],
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
    }
    thinks = model("anthropic", reasoning={"budget": 2000, "effort": "low"})
    body = message_params(thinks, prompt(temperature=1))
    assert (body["max_tokens"], body["thinking"]) == (2064, {"type": "enabled", "budget_tokens": 2000})
    assert (body["output_config"], body["system"], "temperature" in body) == ({"effort": "low"}, "be brief", False)
    assert message_params(model("anthropic", reasoning=True), prompt(temperature=1))["thinking"] == {"type": "adaptive"}
    assert message_params(model("anthropic", reasoning=False), prompt())["thinking"] == {"type": "disabled"}


def test_gemini_is_sent_contents_with_its_own_names() -> None:
    own = {"temperature": 0.5, "top_p": 0.9, "top_k": 5, "stop": ["END"], "per_request_seed": True, "presence_penalty": 1}
    body = content_request(model("gemini", reasoning={"budget": 100}), prompt(Constraint(choices=("a", "b")), n=2, **own))
    assert body == {
        "systemInstruction": {"parts": [{"text": "be brief"}]},
        "contents": [
            {"role": "user", "parts": [{"text": "q"}]},
            {"role": "model", "parts": [{"text": "a"}]},
            {"role": "user", "parts": [{"text": "r"}]},
        ],
        "generationConfig": {
            "maxOutputTokens": 164,
            "temperature": 0.5,
            "topP": 0.9,
            "topK": 5,
            "stopSequences": ["END"],
            "presencePenalty": 1,
            "candidateCount": 2,
            "seed": 0,
            "responseMimeType": "text/x.enum",
            "responseSchema": {"type": "STRING", "enum": ["a", "b"]},
            "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 100},
        },
    }
    config = content_request(model("gemini", reasoning=False), prompt(Constraint(json_schema=SCHEMA)))["generationConfig"]
    assert (config["responseJsonSchema"], config["thinkingConfig"]) == (SCHEMA, {"thinkingBudget": 0})


def test_bedrock_is_sent_what_converse_takes() -> None:
    body = converse_input(model("bedrock", reasoning={"budget": 1024}), prompt(temperature=1, top_p=0.9, stop=["END"]))
    assert body == {
        "system": [{"text": "be brief"}],
        "messages": [{"role": turn["role"], "content": [{"text": turn["content"]}]} for turn in MESSAGES[1:]],
        "inferenceConfig": {"maxTokens": 1088, "topP": 0.9, "stopSequences": ["END"]},
        "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
    }


OTHERS = ("anthropic", "gemini", "bedrock")
REFUSED: list[tuple[tuple[str, ...], dict[str, Any], dict[str, Any], str]] = [
    # providers, sampling, the model's section, the key that is named
    (OTHERS, {"min_p": 0.1}, {}, "sampling.min_p"),
    (OTHERS, {"repetition_penalty": 1.1}, {}, "sampling.repetition_penalty"),
    (OTHERS, {}, {"chat": False}, "models.judge.chat"),
    (OTHERS, {}, {"chat_template_kwargs": {"a": 1}}, "models.judge.chat_template_kwargs"),
    (("anthropic", "bedrock"), {"per_request_seed": True}, {}, "sampling.per_request_seed"),
    (("anthropic", "bedrock"), {"presence_penalty": 1}, {}, "sampling.presence_penalty"),
    (("anthropic", "bedrock"), {"frequency_penalty": 1}, {}, "sampling.frequency_penalty"),
    (("anthropic", "bedrock"), {"logprobs": 3}, {}, "recipe.top_logprobs"),
    (("anthropic", "bedrock"), {"temperature": 1.5}, {}, "sampling.temperature"),
    (("anthropic", "bedrock"), {"temperature": 0.5}, {"reasoning": {"budget": 2000}}, "sampling.temperature"),
    (("anthropic", "bedrock"), {"temperature": 1}, {"reasoning": {"budget": 5}}, "models.judge.reasoning.budget"),
    (("openai", "bedrock"), {"top_k": 5}, {}, "sampling.top_k"),
    (("openai",), {}, {"reasoning": {"budget": 2000}}, "models.judge.reasoning.budget"),
    (("gemini",), {"logprobs": 21}, {}, "recipe.top_logprobs"),
    (("gemini",), {"stop": list("abcdef")}, {}, "sampling.stop"),
    (("gemini",), {}, {"reasoning": {"effort": "max"}}, "models.judge.reasoning.effort"),
    (("gemini",), {}, {"reasoning": {"effort": "high", "budget": 100}}, "models.judge.reasoning.budget"),
    (("gemini",), {}, {"reasoning": {"think": False, "effort": "high"}}, "models.judge.reasoning.effort"),
    (("gemini",), {}, {"reasoning": {"think": False, "budget": 100}}, "models.judge.reasoning.budget"),
    (("anthropic",), {}, {"reasoning": {"effort": "minimal"}}, "models.judge.reasoning.effort"),
    (("bedrock",), {}, {"reasoning": {"effort": "low"}}, "models.judge.reasoning.effort"),
    (("bedrock",), {"temperature": 1}, {"reasoning": True}, "models.judge.reasoning.think"),
]


@pytest.mark.parametrize(
    ("provider", "asked", "section", "key"),
    [(one, asked, section, key) for providers, asked, section, key in REFUSED for one in providers],
)
def test_what_a_provider_cannot_do_is_refused_by_the_jobs_key(provider: str, asked: Any, section: Any, key: str) -> None:
    with pytest.raises(JobError) as refused:
        refuse_unfit(model(provider, **section), sampling() | asked, where="models.judge")
    assert str(refused.value).startswith(f"{key}: wanted ")


def test_check_refuses_what_the_recipe_asks_of_a_provider() -> None:
    document: dict[str, Any] = {"name": "a", "seeds": "a.jsonl", "output": "out", "split": {"fractions": {"train": 1.0}}}
    section = {"engine": "batch_api", "model": "m", "batch": SECTIONS["anthropic"]}
    for recipe, key in (
        ({"name": "distill", "choices": ["a", "b"]}, "recipe: wanted a provider that takes choices"),
        ({"name": "distill", "top_logprobs": 2}, r"recipe\.top_logprobs"),
    ):
        job = job_from(document | {"recipe": recipe, "models": {"teacher": section}})
        with pytest.raises(JobError, match=key):
            for check in model_checks("teacher", job.models.teacher, job):
                check()


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"provider": "gemini", "version": "2023-06-01"}, "'anthropic' alone, got 'gemini'"),
        ({"provider": "anthropic", "flavour": "vllm"}, "'openai' alone, got 'anthropic'"),
        ({"provider": "openai", "part_requests": 60_000}, "at most 50,000 for 'openai'"),
        ({"provider": "bedrock"}, "wanted role_arn"),
        (BEDROCK | {"s3": "bucket"}, "wanted s3: s3://bucket/prefix"),
        (BEDROCK | {"key_env": "KEY"}, "wanted no key_env"),
        (BEDROCK | {"part_requests": 50}, "wanted least_requests of at most part_requests"),
    ],
)
def test_keys_that_do_not_fit_their_provider_are_refused(section: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        BatchApi.model_validate(section)


def test_each_provider_has_an_address_of_its_own() -> None:
    urls = {name: BatchApi.model_validate(section).base_url for name, section in SECTIONS.items()}
    assert urls["anthropic"] == "https://api.anthropic.com/v1"
    assert urls["gemini"] == "https://generativelanguage.googleapis.com/v1beta"
    assert urls["bedrock"] == ""  # boto3 finds it by the region


# What comes back.


def one(reply: Any) -> Completion:
    [answer] = completions_in(reply, 1) or []
    return answer


def test_thoughts_and_calls_are_apart_from_the_answer() -> None:
    claude = {
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "x"},
            {"type": "redacted_thinking", "data": "x"},
            {"type": "text", "text": "so"},
            {"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}},
        ],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 3, "output_tokens": 9},
    }
    converse = {
        "output": {
            "message": {
                "content": [
                    {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "x"}}},
                    {"text": "so"},
                    {"toolUse": {"toolUseId": "1", "name": "f", "input": {"a": 1}}},
                ]
            }
        },
        "stopReason": "tool_use",
        "usage": {"inputTokens": 3, "outputTokens": 9, "totalTokens": 12},
    }
    for reply in (anthropic_reply(claude), bedrock_reply(converse)):
        answer = one(reply)
        assert (answer.text, answer.reasoning, answer.finish_reason) == ("so\n" + call_text("f", {"a": 1}), "hm", "tool_calls")
        assert (answer.prompt_tokens, answer.completion_tokens) == (3, 9)


def test_geminis_candidates_thoughts_and_logprobs_are_read() -> None:
    told = {
        "chosenCandidates": [{"token": "so", "tokenId": 4, "logProbability": -0.5}],
        "topCandidates": [{"candidates": [{"token": "so", "logProbability": -0.5}, {"token": "no", "logProbability": -1.5}]}],
    }
    parts = [{"text": "hm", "thought": True}, {"text": "so"}]
    candidates = [
        {"index": place, "finishReason": "STOP", "content": {"parts": parts}, "logprobsResult": told} for place in (1, 0)
    ]
    usage = {"promptTokenCount": 3, "candidatesTokenCount": 4, "thoughtsTokenCount": 10, "totalTokenCount": 17}
    answers = completions_in(gemini_reply({"candidates": candidates, "usageMetadata": usage}), 2)
    assert answers is not None
    assert [(a.text, a.reasoning, a.completion_tokens, a.reasoning_tokens) for a in answers] == [("so", "hm", 7, 5)] * 2
    assert answers[0].logprobs is not None
    assert [entry["token"] for entry in answers[0].logprobs[0]["top"]] == ["so", "no"]


def test_cached_tokens_have_prices_of_their_own() -> None:
    prices = BatchApi.model_validate(
        {"usd_per_1m_prompt": 10, "usd_per_1m_completion": 100, "usd_per_1m_cache_read": 0.5}
    ).usd_per_1m
    assert prices == Prices(5.0, 50.0, 0.5, 5.0)
    spent = Spent()
    spent.add([user("q")], [Completion("a", "stop", 1000, 10, cached_tokens=400, cache_written_tokens=100)], prices)
    assert spent.nano_usd == 1000 * (600 * 5 + 400 * 0.5 + 10 * 50)


KEYS = (
    "content", "type", "text", "usage", "input_tokens", "output_tokens", "candidates", "parts", "finishReason", "usageMetadata",
    "logprobsResult", "chosenCandidates", "topCandidates", "token", "output", "message", "error", "code", "result", "custom_id",
    "key", "response", "recordId", "modelOutput", "errorCode", "toolUse", "reasoningContent", "promptFeedback", "blockReason",
)  # fmt: skip
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(["text", "errored", "succeeded", "a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=14,
)


@given(JSON, JSON)
def test_any_result_of_any_provider_can_be_read(value: Any, other: Any) -> None:
    for read in (anthropic_reply, gemini_reply, bedrock_reply):
        completions_in(read(value), 1)
    for line in (anthropic._line, gemini._line, bedrock._line):
        names = {"custom_id": "k-x", "key": "k", "recordId": "k"}
        for row in (value if isinstance(value, dict) else {}, {"result": value}, {"error": value}, {"response": other}):
            found = line(names | row)
            if found is not None and isinstance(found["custom_id"], str):
                reply_in(found, 1)
