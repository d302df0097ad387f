"""The real engine: what it tells of its own answer at generation is what it tells of the same answer when it is given."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from synth_ray.ask.engines import make_teacher
from synth_ray.ask.teacher import Prompt, TeacherFacts
from synth_ray.ask.top_k import ready_models
from synth_ray.errors import AskFailed
from synth_ray.job.load import job_from
from synth_ray.job.tokenizer import read_identity
from synth_ray.records import TopK
from tests.conftest import ENGINE_ARGS, TINY_TEACHER

K = 24  # above the engine's own limit of 20
MESSAGES = [{"role": "user", "content": "Write a short message to a shop about a parcel that is late."}]


@pytest.fixture(scope="module")
def opened() -> Iterator[tuple[Any, TeacherFacts]]:
    """The bundled teacher as a job with 24 log-probabilities opens it."""
    job = job_from(
        {
            "name": "likely",
            "seeds": "none.jsonl",
            "recipe": {"name": "distill", "top_k_logprobs": K},
            "models": {"teacher": {"model": str(TINY_TEACHER), "engine_args": ENGINE_ARGS | {"dtype": "float32"}}},
            "output": "out",
        }
    )
    teacher = make_teacher(ready_models(job)["teacher"])
    yield teacher, teacher.open()
    teacher.close()


def ask(teacher: Any, **more: Any) -> Any:
    return asyncio.run(teacher.answer(Prompt(MESSAGES, "ab" * 16, **more)))


def arrays(top_k: TopK) -> tuple[Any, Any, Any, Any]:
    answer, tail = np.frombuffer(top_k.answer, "<u4"), np.frombuffer(top_k.tail, "<f2").astype(float)
    shape = (len(answer), top_k.k)
    logprobs = np.frombuffer(top_k.logprobs, "<f2").astype(float).reshape(shape)
    return answer, np.frombuffer(top_k.ids, "<u4").reshape(shape), logprobs, tail


@pytest.mark.vllm
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_scores_of_a_given_answer_are_those_of_its_generation(opened: Any, temperature: float) -> None:
    teacher, facts = opened
    assert facts.tokenizer == read_identity(str(TINY_TEACHER))
    sampling = {"max_tokens": 200, "temperature": temperature, "top_k_logprobs": K, "per_request_seed": True}
    answers = [a for a in ask(teacher, n=6 if temperature else 1, sampling=sampling) if a.finish_reason == "stop"]
    assert answers
    assert all(a.text and a.logprobs is None for a in answers)
    for made in answers:
        answer, ids, logprobs, tail = arrays(made.top_k)
        assert len(answer) == made.completion_tokens
        assert (np.diff(logprobs, axis=1) <= 0).all()
        assert all(len(set(position)) == K for position in ids.tolist())
        np.testing.assert_allclose(np.exp(logprobs).sum(axis=1) + tail, 1.0, atol=5e-3)
        [scored] = ask(teacher, kind="score", given=made.text, sampling={"top_k_logprobs": K})
        given, given_ids, given_logprobs, given_tail = arrays(scored.top_k)
        if given.tolist() != answer.tolist():
            continue  # a sampled answer may be spelt with other tokens than its text is
        assert scored.top_k.prompt == made.top_k.prompt
        assert (given_ids[:, 0] == ids[:, 0]).mean() > 0.99
        np.testing.assert_allclose(given_logprobs, logprobs, atol=0.01, rtol=0.001)  # stored with eleven bits
        np.testing.assert_allclose(given_tail, tail, atol=2e-3)
        said = [token["logprob"] for token in scored.logprobs]
        assert [token["id"] for token in scored.logprobs] == answer.tolist()
        for place, logprob in enumerate(said):
            if answer[place] in given_ids[place]:
                assert given_logprobs[place][given_ids[place].tolist().index(answer[place])] == pytest.approx(logprob, abs=0.01)
    assert temperature or all(arrays(made.top_k)[1][:, 0].tolist() == arrays(made.top_k)[0].tolist() for made in answers)


@pytest.mark.vllm
def test_an_answer_is_scored_without_the_likeliest_tokens_and_refused_where_it_is_too_long(opened: Any) -> None:
    teacher, _ = opened
    [scored] = ask(teacher, kind="score", given="My parcel is late.")
    assert scored.top_k is None
    assert all(token["logprob"] <= 0 for token in scored.logprobs)
    assert scored.prompt_tokens > len(scored.logprobs) > 3
    with pytest.raises(AskFailed, match="tokens with the answer"):
        ask(teacher, kind="score", given="word " * 2000)
