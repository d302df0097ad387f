"""Log-probabilities by token id from a server that replies as vLLM's does, in chat and in plain form."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import numpy as np
import pytest

from synth_ray.ask.batches.teacher import BatchApiTeacher
from synth_ray.ask.endpoint_teacher import EndpointTeacher
from synth_ray.ask.teacher import Prompt
from synth_ray.ask.top_k import ready_models
from synth_ray.errors import AskFailed, JobError, ServiceRefused
from synth_ray.job.load import job_from
from synth_ray.job.models import Model, engines_of
from tests.servers import answering

WORDS = [
    "<end>",
    "\n",
    "<user>",
    "<assistant>",
    *["the", "parcel", "is", "late", "and", "lost", ".", "why", "?", "it", "fell", "off", "a", "ship"],
]
EOS, NEWLINE = 0, 1


def ids(text: str) -> list[int]:
    return [WORDS.index(word) for word in text.split(" ") if word]


def logprobs_at(place: int, count: int) -> dict[int, float]:
    """A distribution over the words that depends on the place alone; the likeliest first."""
    order = [(place * 7 + number) % len(WORDS) for number in range(len(WORDS))]
    masses = [2.0 ** -(number + 1) for number in range(len(WORDS))]
    return {id_: math.log(mass / sum(masses)) for id_, mass in list(zip(order, masses, strict=True))[:count]}


def told(place: int, own: int, count: int) -> dict[int, float]:
    """As vLLM: the token itself first, then the likeliest."""
    whole = logprobs_at(place, len(WORDS))
    return {own: whole[own]} | logprobs_at(place, count)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owned_by = "vllm"
    tells_ids = True

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._send({"data": [{"id": "m", "owned_by": self.owned_by, "max_model_len": 4096}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = rendered(body) if "messages" in body else ids(body["prompt"])
        answer = [*ids("it fell off"), EOS][: body["max_tokens"]]
        reply: dict[str, Any] = {"usage": {"prompt_tokens": len(prompt), "completion_tokens": len(answer)}}
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
        where = reply if "messages" in body else choice
        if body.get("return_token_ids") and self.tells_ids:
            where["prompt_token_ids"] = prompt
        if (count := body.get("prompt_logprobs")) is not None:
            shown = [None] + [told(place, prompt[place], count) for place in range(1, len(prompt))]
            where["prompt_logprobs"] = [
                at and {str(id_): {"logprob": value, "rank": 1, "decoded_token": "x"} for id_, value in at.items()}
                for at in shown
            ]
        if body.get("logprobs") and self.tells_ids:
            choice["logprobs"] = generated(body, answer, len(prompt))
        text = " ".join(WORDS[id_] for id_ in answer if id_ != EOS)
        choice |= {"message": {"role": "assistant", "content": text}} if "messages" in body else {"text": text}
        self._send(reply | {"choices": [choice]})

    def _send(self, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def rendered(body: dict[str, Any]) -> list[int]:
    tokens: list[int] = []
    for message in body["messages"]:
        tokens += [*ids(f"<{message['role']}>"), *ids(message["content"]), EOS, NEWLINE]
    if body.get("continue_final_message"):
        return tokens[:-2]
    return tokens + (ids("<assistant>") if body.get("add_generation_prompt", True) else [])


def generated(body: dict[str, Any], answer: list[int], start: int) -> dict[str, Any]:
    count = body.get("top_logprobs") if "messages" in body else body["logprobs"]
    at = [told(start + place, own, count) for place, own in enumerate(answer)]
    names = [{f"token_id:{id_}": value for id_, value in likely.items()} for likely in at]
    own = [f"token_id:{id_}" for id_ in answer]
    if "messages" not in body:
        said = [likely[name] for likely, name in zip(names, own, strict=True)]
        return {"tokens": own, "token_logprobs": said, "top_logprobs": names}
    content = [
        {
            "token": name,
            "logprob": likely[name],
            "top_logprobs": [{"token": t, "logprob": v} for t, v in [*likely.items()][:count]],
        }
        for likely, name in zip(names, own, strict=True)
    ]
    return {"content": content}


@pytest.fixture
def url() -> Iterator[str]:
    with answering(Handler) as address:
        yield address


def teacher_at(url: str, *, chat: bool, flavour: str = "auto") -> EndpointTeacher:
    return EndpointTeacher(Model(engine="endpoint", model="m", chat=chat, endpoint={"urls": f"{url}/v1", "flavour": flavour}))


def ask(teacher: EndpointTeacher, **more: Any) -> Any:
    teacher.open()
    messages = [{"role": "user", "content": "why is the parcel late ?"}]
    return asyncio.run(teacher.answer(Prompt(messages, "ab" * 16, **more)))[0]


def expect(top_k: Any, prompt: list[int], answer: list[int], k: int) -> None:
    assert (np.frombuffer(top_k.prompt, "<u4").tolist(), np.frombuffer(top_k.answer, "<u4").tolist()) == (prompt, answer)
    at = [logprobs_at(len(prompt) + place, k) for place in range(len(answer))]
    assert np.frombuffer(top_k.ids, "<u4").tolist() == [id_ for likely in at for id_ in likely]
    values = np.array([value for likely in at for value in likely.values()])
    np.testing.assert_allclose(np.frombuffer(top_k.logprobs, "<f2"), values, atol=2e-3)
    tail = 1 - np.exp(values).reshape(-1, k).sum(1)
    np.testing.assert_allclose(np.frombuffer(top_k.tail, "<f2"), tail, atol=1e-3)


CHAT_PROMPT = [*ids("<user> why is the parcel late ?"), EOS, NEWLINE, *ids("<assistant>")]


@pytest.mark.parametrize("k", [1, 3, 8])
def test_generated_answers_have_k_tokens_at_every_position(url: str, k: int) -> None:
    for chat, prompt in ((True, CHAT_PROMPT), (False, ids("why is the parcel late ?"))):
        answer = ask(teacher_at(url, chat=chat), sampling={"max_tokens": 16, "top_k_logprobs": k})
        assert (answer.text, answer.logprobs) == ("it fell off", None)
        expect(answer.top_k, prompt, [*ids("it fell off"), EOS], k)


@pytest.mark.parametrize("k", [0, 3])
def test_a_given_answer_is_scored_with_the_end_of_its_turn_and_nothing_after_it(url: str, k: int) -> None:
    for chat, prompt, given in ((True, CHAT_PROMPT, "it is lost"), (False, ids("why is the parcel late ?"), " it is lost")):
        scored = ask(teacher_at(url, chat=chat), kind="score", given=given, sampling={"top_k_logprobs": k})
        answer = ids(given) + [EOS] * chat
        assert scored.text == given
        assert (scored.prompt_tokens, scored.completion_tokens) == (len(prompt) + len(answer), 1)
        assert [token["id"] for token in scored.logprobs] == answer
        wanted = [logprobs_at(len(prompt) + place, len(WORDS))[id_] for place, id_ in enumerate(answer)]
        assert [token["logprob"] for token in scored.logprobs] == pytest.approx(wanted)
        assert (scored.top_k is None) == (k == 0)
        if k:
            expect(scored.top_k, prompt, answer, k)


def test_a_plain_answer_has_no_ids(url: str) -> None:
    answer = ask(teacher_at(url, chat=True), sampling={"max_tokens": 16})
    assert (answer.top_k, answer.logprobs) == (None, None)


@pytest.mark.parametrize("more", [{"kind": "score", "given": "it is"}, {"sampling": {"max_tokens": 4, "top_k_logprobs": 2}}])
def test_another_server_is_refused_and_so_is_a_reply_without_ids(
    url: str, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    monkeypatch.setattr(Handler, "owned_by", "somebody")
    with pytest.raises(ServiceRefused, match="wanted a server that tells token ids"):
        ask(teacher_at(url, chat=True), **more)
    monkeypatch.setattr(Handler, "tells_ids", False)
    with pytest.raises(AskFailed):
        ask(teacher_at(url, chat=True, flavour="vllm"), **more)


def models(recipe: dict[str, Any], **teacher: Any) -> dict[str, Model]:
    return ready_models(
        job_from({"name": "n", "seeds": "s.jsonl", "recipe": recipe, "models": {"teacher": teacher}, "output": "out"})
    )


def test_models_are_made_ready_or_refused() -> None:
    distill = {"name": "distill", "top_k_logprobs": 64}
    assert models(distill, model="m")["teacher"].engine_args == {"max_logprobs": 64}
    assert models(distill | {"top_k_logprobs": 20}, model="m")["teacher"].engine_args == {}
    assert models(distill, model="m", engine_args={"max_logprobs": -1})["teacher"].engine_args == {"max_logprobs": -1}
    assert models({"name": "score"}, model="m")["teacher"].engine_args == {"max_num_batched_tokens": 2048}
    assert models({"name": "distill"}, model="m")["teacher"].engine_args == {}
    with pytest.raises(JobError, match="wanted at least the recipe's top_k_logprobs, 64, got 30"):
        models(distill, model="m", engine_args={"max_logprobs": 30})
    served = {"model": "m", "engine": "endpoint", "endpoint": {"urls": "http://localhost:1/v1", "flavour": "openai"}}
    with pytest.raises(JobError, match="got an OpenAI-compatible server, which does not"):
        models({"name": "score"}, **served)
    with pytest.raises(JobError, match="log-probabilities of given answers, got engine 'batch_api'"):
        models({"name": "score"}, model="m", engine="batch_api", batch={"url": "http://localhost:1/v1"})


def test_a_role_that_shares_a_teachers_engine_goes_on_sharing_it() -> None:
    other = {"model": "m", "engine_args": {"max_model_len": 64}}
    for judge, engines in (({"model": "m", "reasoning": False}, 1), (other, 2)):
        section = {"teacher": "m", "judge": judge, "allow_related_judge": True}
        job = job_from({"name": "n", "seeds": "s.jsonl", "recipe": {"name": "score"}, "models": section, "output": "out"})
        assert len(engines_of(ready_models(job))) == engines


@pytest.mark.parametrize("reasoning", [None, {"think": False}])
def test_a_server_that_is_told_not_to_think_scores_too(url: str, reasoning: dict[str, Any] | None) -> None:
    endpoint = {"urls": f"{url}/v1", "flavour": "auto"}
    teacher = EndpointTeacher(Model(engine="endpoint", model="m", endpoint=endpoint, reasoning=reasoning))
    assert ask(teacher, kind="score", given="it is lost").logprobs


@pytest.mark.parametrize("more", [{"kind": "score", "given": "it is"}, {"kind": "embed"}, {"sampling": {"top_k_logprobs": 2}}])
def test_a_batch_api_refuses_what_it_cannot_do(more: dict[str, Any]) -> None:
    teacher = BatchApiTeacher(Model(engine="batch_api", model="m", batch={"url": "http://localhost:1/v1"}), None)
    with pytest.raises(ServiceRefused, match="got a batch API"):
        asyncio.run(teacher.answer(Prompt([{"role": "user", "content": "why ?"}], "ab" * 16, **more)))
