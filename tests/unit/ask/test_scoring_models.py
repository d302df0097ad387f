"""Models that score, scripted and behind servers over real HTTP: what is sent, what is read, and what is refused."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.ask.endpoint_teacher import EndpointTeacher
from synth_ray.ask.scoring_protocol import place_of, replies_in
from synth_ray.ask.scripted_teacher import ScriptedTeacher
from synth_ray.ask.segments import line_of
from synth_ray.ask.teacher import Prompt, Teacher
from synth_ray.ask.vllm.pooling import refuse_unfit_folder
from synth_ray.errors import AskFailed, JobError, MissingResource, ServiceRefused
from synth_ray.job.models import Model
from synth_ray.recipes.contract import Completion, user
from tests.endpoint_server import MODEL, Reply, behaving_server

WEIGHTS = {"sound": 2.0, "shabby": -1.5}


def model(task: str, **more: Any) -> Model:
    labels = {"scoring": {"labels": ["good", "bad"]}} if task == "classify" else {}
    return Model.model_validate({"engine": "scripted", "task": task, "script": {"scores": WEIGHTS}} | labels | more)


def behind(url: str, task: str, **more: Any) -> EndpointTeacher:
    endpoint = {"urls": [url], "flavour": "vllm", "retries": 3} | more.pop("endpoint", {})
    section = {"engine": "endpoint", "model": MODEL, "endpoint": endpoint}
    opened = EndpointTeacher(model(task, **section, **more))
    opened.open()
    return opened


def rate(answer: str, question: str = "why?") -> Prompt:
    return Prompt([user(question)], f"{abs(hash(answer)):032x}", kind="rate", given=answer)


def embed(text: str) -> Prompt:
    return Prompt([user(text)], "0" * 32, kind="embed")


def ask(teacher: Teacher, prompt: Prompt) -> Completion:
    return asyncio.run(teacher.answer(prompt))[0]


def like_vllm(body: dict[str, Any], _times: int) -> Reply:
    """The planted scores, in the forms of vLLM's paths. A text with `endless` in it is too long."""
    said = body.get("input") or body.get("text_2") or [turn["content"] for turn in body["messages"]][-1]
    if "endless" in str(body) and "truncate_prompt_tokens" not in body:
        return 400, {"error": {"message": "This model's maximum context length is 128 tokens. However, you requested 900 tokens"}}
    usage = {"prompt_tokens": 11, "total_tokens": 11, "completion_tokens": 0}
    texts = said if isinstance(said, list) else [said]
    logits = [sum(weight * text.count(word) for word, weight in WEIGHTS.items()) for text in texts]
    if "encoding_format" in body:
        data: list[dict[str, Any]] = [
            {"index": place, "embedding": [3.0 * ("sound" in text), 4.0]} for place, text in enumerate(texts)
        ]
        return 200, {"data": data[::-1], "usage": usage}
    if "text_2" in body:
        return 200, {"data": [{"index": 0, "object": "score", "score": logits[0]}], "usage": usage}
    if body.get("task") == "classify":
        assert body["use_activation"] is False
        return 200, {"data": [{"index": 0, "object": "pooling", "data": logits}], "usage": usage}
    likely = 1 / (1 + math.exp(-logits[0]))
    return 200, {"data": [{"index": 0, "label": "LABEL_0", "probs": [likely, 1 - likely], "num_classes": 2}], "usage": usage}


@pytest.fixture(params=["scripted", "server"])
def teachers(request: pytest.FixtureRequest) -> Any:
    if request.param == "scripted":
        yield lambda task, **more: ScriptedTeacher(model(task, **more))
        return
    with behaving_server(like_vllm) as (url, _):
        yield lambda task, **more: behind(url, task, **more)


def test_a_reward_is_raw_and_classes_are_probabilities_by_label(teachers: Any) -> None:
    reward, classes = teachers("reward"), teachers("classify")
    for answer, logit in [("a sound answer", 2.0), ("a shabby, shabby answer", -3.0), ("an answer", 0.0)]:
        rated = ask(reward, rate(answer))
        assert rated.scores == {"reward": logit}
        assert (rated.text, rated.completion_tokens) == ("", 0) and (rated.prompt_tokens or 0) > 0
        shares = ask(classes, rate(answer)).scores or {}
        assert shares["good"] == pytest.approx(1 / (1 + math.exp(-logit)))
        assert list(shares) == ["good", "bad"] and sum(shares.values()) == pytest.approx(1)


def test_an_embedding_has_unit_length_and_rates_by_the_cosine_of_question_and_answer(teachers: Any) -> None:
    teacher = teachers("embed")
    vectors = [ask(teacher, embed(text)).vector or [] for text in ("a sound one", "another")]
    assert [math.hypot(*vector) for vector in vectors] == pytest.approx([1, 1])
    cosine = sum(a * b for a, b in zip(*vectors, strict=True))
    rated = ask(teacher, rate("another", question="a sound one"))
    assert rated.scores == {"similarity": pytest.approx(cosine)}
    assert vectors[0] == ask(teacher, embed("a sound one")).vector


def test_an_ask_of_another_kind_stops_the_run_and_says_which_task_it_wants(teachers: Any) -> None:
    with pytest.raises(ServiceRefused, match=r"wanted task generate of .* got reward"):
        ask(teachers("reward"), Prompt([user("why?")], "0" * 32))
    with pytest.raises(ServiceRefused, match=r"wanted task embed of .* got classify"):
        ask(teachers("classify"), embed("a text"))
    with pytest.raises(ServiceRefused, match=r"wanted task reward, classify or embed .* got generate"):
        ask(ScriptedTeacher(Model(engine="scripted")), rate("an answer"))


SENT = [
    ({"task": "reward"}, "/pooling", {"messages", "task", "use_activation", "add_generation_prompt"}),
    ({"task": "reward", "chat": False}, "/pooling", {"input", "task", "use_activation"}),
    ({"task": "reward", "scoring": {"reads": "pair"}}, "/score", {"text_1", "text_2", "use_activation"}),
    ({"task": "classify"}, "/classify", {"messages", "add_generation_prompt"}),
    ({"task": "embed", "scoring": {"dimensions": 2}}, "/v1/embeddings", {"input", "encoding_format", "dimensions"}),
]


@pytest.mark.parametrize(("section", "path", "keys"), SENT)
def test_each_task_is_asked_at_its_own_path_and_nothing_is_cut_unasked(
    section: dict[str, Any], path: str, keys: set[str]
) -> None:
    with behaving_server(like_vllm) as (url, got):
        teacher = behind(url, **section)
        assert ask(teacher, rate("sound")).scores
        with pytest.raises(AskFailed, match="prompt_too_long"):
            ask(teacher, rate("an endless answer"))
        scoring = {"labels": ["good", "bad"]} if section["task"] == "classify" else section.get("scoring", {})
        cutting = behind(url, **section | {"scoring": scoring | {"too_long": "cut"}})
        assert ask(cutting, rate("an endless answer")).scores
    assert [body["path"] for body in got] == [path] * 3
    assert set(got[0]) - {"path", "model"} == keys
    if "messages" in keys:
        assert [turn["role"] for turn in got[0]["messages"]] == ["user", "assistant"]
        assert got[0]["add_generation_prompt"] is False


def test_a_busy_server_is_asked_again_and_one_that_answers_nothing_fails_the_ask_alone() -> None:
    def busy_first(body: dict[str, Any], times: int) -> Reply:
        if "mute" in str(body):
            return 200, {"data": []}
        return (429, {"error": "busy"}, {"Retry-After": "0.01"}) if times == 1 else like_vllm(body, times)

    with behaving_server(busy_first) as (url, _):
        teacher = behind(url, "reward")
        assert ask(teacher, rate("sound")).scores == {"reward": 2.0}
        with pytest.raises(AskFailed, match="engine_error"):
            ask(teacher, rate("mute"))
        assert ask(teacher, rate("shabby")).scores == {"reward": -1.5}


def test_another_server_than_vllms_has_embeddings_and_no_rewards() -> None:
    with behaving_server(like_vllm) as (url, _):
        assert ask(behind(url, "embed", endpoint={"flavour": "auto"}), embed("a text")).vector
        with pytest.raises(MissingResource, match="wanted vLLM's server for task reward"):
            behind(url, "reward", endpoint={"flavour": "auto"})


def test_a_head_of_another_size_than_the_labels_stops_the_run() -> None:
    said = "wanted a name for each of the 2 outputs"
    with behaving_server(like_vllm) as (url, _), pytest.raises(ServiceRefused, match=said):
        ask(behind(url, "classify", scoring={"labels": ["a", "b", "c"]}), rate("sound"))


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["data", "index", "embedding", "probs", "score", "usage", "prompt_tokens"]), inner)
    ),
)


@given(reply=JSON, task=st.sampled_from(["reward", "classify", "embed"]))
def test_no_reply_raises_and_a_score_is_always_a_number(reply: Any, task: str) -> None:
    try:
        answers = replies_in(model(task), reply)
    except ServiceRefused as refusal:
        assert "outputs" in str(refusal) or "one output" in str(refusal)
        return
    assert len(answers) <= 1
    for answer in answers:
        numbers = [*(answer.scores or {}).values(), *(answer.vector or [])]
        assert numbers and all(map(math.isfinite, numbers))


@given(vector=st.lists(st.floats(-1, 1), min_size=1, max_size=8), score=st.floats(allow_nan=False, allow_infinity=False))
def test_scores_and_vectors_come_back_from_the_journal_as_they_were(vector: list[float], score: float) -> None:
    for answer in (
        Completion("", "stop", 3, 0, scores={"reward": score}),
        Completion("", "stop", 3, 0, vector=vector),
    ):
        assert Completion(*json.loads(line_of("request", "key", [answer]))[2][0]) == answer


@pytest.mark.parametrize(
    ("url", "places"),
    [
        ("http://host/v1", ["http://host/pooling", "http://host/classify", "http://host/v1/embeddings"]),
        ("http://host/base/v1/?key=x", ["http://host/base/pooling?key=x", "http://host/base/classify?key=x"]),
    ],
)
def test_vllms_paths_are_beside_the_versioned_ones(url: str, places: list[str]) -> None:
    found = [place_of(model(task), url) for task in ("reward", "classify", "embed")]
    assert found[: len(places)] == places


BAD: list[tuple[Mapping[str, Any], str]] = [
    ({"task": "reward", "engine": "none"}, "a batch API gives no scores"),
    ({"task": "classify", "engine": "scripted"}, "wanted scoring.labels"),
    ({"task": "embed", "engine": "scripted", "scoring": {"reads": "answer"}}, "wanted scoring.reads for task reward"),
    ({"task": "reward", "engine": "scripted", "scoring": {"labels": ["a"]}}, "for task classify alone"),
    ({"task": "reward", "engine": "vllm", "model": "m", "scoring": {"reads": "pair"}}, "wanted engine endpoint"),
    ({"task": "reward", "engine": "vllm", "model": "m", "lora": "folder"}, "wanted no `lora` for task reward"),
    ({"engine": "scripted", "scoring": {"prefix": "query: "}}, "say task: reward, classify or embed"),
    ({"task": "classify", "engine": "scripted", "scoring": {"labels": ["a", "a"]}}, "got one twice"),
]


@pytest.mark.parametrize(("section", "said"), BAD)
def test_a_section_that_contradicts_its_task_is_refused(section: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Model.model_validate(section)


@pytest.mark.parametrize(
    ("config", "section", "said"),
    [
        ({"architectures": ["LlamaForCausalLM"]}, {"task": "reward"}, "wanted a model with a head for task reward"),
        ({"architectures": ["Qwen3ForCausalLM"]}, {"task": "embed"}, "say last, mean or cls"),
        (
            {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "a", "1": "b", "2": "c"}},
            {"task": "classify", "scoring": {"labels": ["a", "b"]}},
            "wanted 3 names",
        ),
    ],
)
def test_a_folder_without_what_its_task_needs_is_refused_before_an_engine_is_started(
    tmp_path: Path, config: dict[str, Any], section: dict[str, Any], said: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    unfit = Model.model_validate({"model": str(tmp_path)} | section)
    with pytest.raises(JobError, match=said):
        refuse_unfit_folder(unfit, where="models.judge")
    refuse_unfit_folder(unfit.model_copy(update={"engine_args": {"hf_overrides": {}}}), where="models.judge")
