"""Real engines that score, held against what transformers computes for the same models: vLLM offline, and its server."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from synth_ray.ask.endpoint_teacher import EndpointTeacher
from synth_ray.ask.engines import make_teacher
from synth_ray.ask.teacher import Prompt, Teacher
from synth_ray.errors import AskFailed, JobError, ServiceRefused
from synth_ray.job.models import Model
from synth_ray.recipes.contract import Completion, user
from tests.scoring_models import LABELS, LENGTH, classifier, embedder, tokenizer_of, true_logits, true_vector
from tests.servers import serving

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

ARGS = {"dtype": "float32", "max_num_seqs": 8, "max_model_len": LENGTH, "enforce_eager": True}
FLAGS = ("--dtype", "float32", "--max-model-len", str(LENGTH), "--max-num-seqs", "8", "--enforce-eager")
QUESTION = "Where is my order?"
ANSWERS = ["It is on its way.", "We are sorry: it was lost, and you get your money back.", "No."]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("scoring")
    return {
        "reward": classifier(root / "reward", ["reward"]),
        "classify": classifier(root / "classify", LABELS),
        "embed": embedder(root / "embed"),
    }


def rate(answer: str, question: str = QUESTION) -> Prompt:
    return Prompt([user(question)], "0" * 32, kind="rate", given=answer)


def embed(text: str) -> Prompt:
    return Prompt([user(text)], "0" * 32, kind="embed")


def ask(teacher: Teacher, *prompts: Prompt) -> list[Completion]:
    async def answer_all() -> list[list[Completion]]:
        return list(await asyncio.gather(*[teacher.answer(prompt) for prompt in prompts]))

    return [answer for [answer] in asyncio.run(answer_all())]


@pytest.fixture(scope="module", params=["reward", "classify", "embed"])
def offline(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Iterator[tuple[str, Path, Teacher]]:
    folder = folders[request.param]
    teacher = make_teacher(Model.model_validate({"model": str(folder), "task": request.param, "engine_args": ARGS}), role="judge")
    teacher.open()
    yield request.param, folder, teacher
    teacher.close()


def softmax(logits: list[float]) -> list[float]:
    shares = [math.exp(logit - max(logits)) for logit in logits]
    return [share / sum(shares) for share in shares]


def true_scores(task: str, folder: Path, answer: str) -> dict[str, float]:
    if task == "embed":
        one, other = true_vector(folder, QUESTION), true_vector(folder, answer)
        return {"similarity": sum(a * b for a, b in zip(one, other, strict=True))}
    logits = true_logits(folder, [user(QUESTION), {"role": "assistant", "content": answer}])
    return {"reward": logits[0]} if task == "reward" else dict(zip(LABELS, softmax(logits), strict=True))


def test_scores_are_those_of_the_models_own_library_and_their_tokens_are_counted(offline: tuple[str, Path, Teacher]) -> None:
    task, folder, teacher = offline
    rated = ask(teacher, *map(rate, ANSWERS))
    for answer, completion in zip(ANSWERS, rated, strict=True):
        assert completion.scores == pytest.approx(true_scores(task, folder, answer), abs=2e-3)
        assert completion.prompt_tokens and completion.completion_tokens == 0
    assert len({tuple(completion.scores.values()) for completion in rated if completion.scores}) == len(ANSWERS)
    if task == "embed":
        [vector] = ask(teacher, embed(QUESTION))
        assert vector.vector == pytest.approx(true_vector(folder, QUESTION), abs=2e-3)
        assert math.hypot(*(vector.vector or [])) == pytest.approx(1, abs=1e-5)


def test_what_is_too_long_fails_alone_and_what_the_task_cannot_do_stops_the_run(offline: tuple[str, Path, Teacher]) -> None:
    task, _, teacher = offline
    with pytest.raises(AskFailed, match="prompt_too_long"):
        ask(teacher, rate("never again " * LENGTH))
    assert ask(teacher, rate("fine"))[0].scores
    with pytest.raises(ServiceRefused, match=f"got {task}"):
        ask(teacher, Prompt([user(QUESTION)], "0" * 32, sampling={"max_tokens": 4}))


def test_a_text_that_may_be_cut_is_rated_by_its_end_and_embedded_by_its_beginning(
    offline: tuple[str, Path, Teacher], monkeypatch: pytest.MonkeyPatch
) -> None:
    task, folder, teacher = offline
    model = Model.model_validate({"model": str(folder), "task": task, "scoring": {"too_long": "cut"}})
    monkeypatch.setattr(teacher, "_model", model)
    long = "never again " * LENGTH
    if task == "embed":
        ids = tokenizer_of(folder).encode(long, truncation=True, max_length=LENGTH)
        assert ask(teacher, embed(long))[0].vector == pytest.approx(true_vector(folder, ids), abs=2e-3)
    else:
        [rated] = ask(teacher, rate(long))
        assert rated.scores == pytest.approx(true_scores(task, folder, long), abs=2e-3)
        assert rated.prompt_tokens == LENGTH


@pytest.fixture(scope="module")
def served(folders: dict[str, Path]) -> Iterator[tuple[str, str]]:
    with serving(str(folders["reward"]), FLAGS) as url_and_model:
        yield url_and_model


def behind(served: tuple[str, str], **model: Any) -> EndpointTeacher:
    teacher = EndpointTeacher(
        Model.model_validate({"engine": "endpoint", "model": served[1], "endpoint": {"urls": served[0]}, **model})
    )
    teacher.open()
    return teacher


def test_vllms_server_gives_the_raw_reward_and_as_a_classifier_its_probability(
    served: tuple[str, str], folders: dict[str, Path]
) -> None:
    logits = [true_scores("reward", folders["reward"], answer)["reward"] for answer in ANSWERS]
    rewards = ask(behind(served, task="reward"), *map(rate, ANSWERS))
    assert [answer.scores["reward"] for answer in rewards if answer.scores] == pytest.approx(logits, abs=2e-3)
    assert all(answer.prompt_tokens for answer in rewards)
    classes = ask(behind(served, task="classify", scoring={"labels": ["good"]}), *map(rate, ANSWERS))
    expected = [1 / (1 + math.exp(-logit)) for logit in logits]
    assert [answer.scores["good"] for answer in classes if answer.scores] == pytest.approx(expected, abs=2e-3)


def test_vllms_server_refuses_what_is_too_long_unless_it_may_be_cut(served: tuple[str, str]) -> None:
    with pytest.raises(AskFailed, match="prompt_too_long"):
        ask(behind(served, task="reward"), rate("never again " * LENGTH))
    assert ask(behind(served, task="reward", scoring={"too_long": "cut"}), rate("never again " * LENGTH))[0].scores


@pytest.mark.parametrize(
    ("task", "made", "said"),
    [
        ("reward", lambda folder: embedder(folder), "wanted a model with a head for task reward"),
        ("embed", lambda folder: embedder(folder, says_how=False), "say last, mean or cls"),
        ("classify", lambda folder: embedder(folder), "wanted a model with a head for task classify"),
    ],
)
def test_a_model_without_the_head_is_refused_before_it_is_started(tmp_path: Path, task: str, made: Any, said: str) -> None:
    folder = made(tmp_path / "model")
    with pytest.raises(JobError, match=said):
        make_teacher(Model.model_validate({"model": str(folder), "task": task, "engine_args": ARGS}), role="judge").open()
