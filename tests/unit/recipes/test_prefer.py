"""`prefer`: a pair is kept only if its winner wins in both orders, and the judge is of another model family."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

import synth_ray
from synth_ray.ask.teacher import Prompt, Teacher
from synth_ray.errors import JobError
from synth_ray.job.load import job_from
from synth_ray.job.problems import BadJob
from synth_ray.recipes.contract import Completion, Constraint
from synth_ray.recipes.judge import score_answer
from synth_ray.records import Message, Reason
from tests.unit.recipes.fake_teacher import Reply, replying, run_recipe, seed


def answers(prompt: Prompt, n: int) -> str:
    return f"answer {n} of quality {(n * 7 + len(prompt.messages[-1]['content'])) % 5}"


def prefers_first(_prompt: Prompt, _n: int) -> str:
    return "A"


def by_quality(prompt: Prompt, _n: int) -> str:
    a, b = (int(q) for q in re.findall(r"quality (\d)", prompt.messages[-1]["content"]))
    return "tie" if a == b else "A" if a > b else "B"


def prefer(judge: Reply, **options: Any) -> list[Any]:
    roles = {"teacher": replying(answers), "judge": replying(judge)}
    return [run_recipe({"name": "prefer"} | options, roles, from_seed=seed("why " * n)).drafts[0] for n in range(1, 60)]


def test_a_judge_with_a_position_bias_keeps_no_pair() -> None:
    for n in (2, 4):
        assert {d.reason for d in prefer(prefers_first, n=n)} == {Reason.NO_AGREEMENT}
        assert {d.reason for d in prefer(lambda *_: "B", n=n)} == {Reason.NO_AGREEMENT}


def test_a_fair_judges_winner_is_chosen_and_its_ties_have_a_reason() -> None:
    for draft in prefer(by_quality, n=4):
        chosen, rejected = (int(text[-1]) for text in (draft.completion, draft.fields["rejected"]))
        assert chosen > rejected
    assert {d.reason for d in prefer(lambda *_: "tie")} == {Reason.TIE}
    assert prefer(lambda *_: "tie")[0].detail == "tie 1"


def test_equal_answers_are_a_tie_without_asking_the_judge() -> None:
    judge = replying("A")
    [draft] = run_recipe({"name": "prefer"}, {"teacher": replying("same"), "judge": judge}).drafts
    assert (draft.reason, judge.asked) == (Reason.TIE, [])


def test_the_judge_is_asked_at_temperature_0_and_sees_both_orders() -> None:
    judge = replying(by_quality)
    run_recipe(
        {"name": "prefer", "temperature": 1.5}, {"teacher": replying(answers), "judge": judge}, from_seed=seed("w{a}y {question}")
    )
    forward, reversed_order = (p.messages[-1]["content"] for p in judge.asked)
    assert forward.index("answer 0") < forward.index("answer 1")
    assert reversed_order.index("answer 1") < reversed_order.index("answer 0")
    assert "Question: w{a}y {question}" in forward
    assert [p.sampling["temperature"] for p in judge.asked] == [0.0, 0.0]


def job(**models: Any) -> dict[str, Any]:
    return {"name": "j", "seeds": "s.jsonl", "recipe": "prefer", "models": models, "output": "out"}


@pytest.mark.parametrize(
    ("teacher", "judge", "related"),
    [
        ("Qwen/Qwen3-8B", "Qwen/Qwen2.5-72B-Instruct", True),
        ("Qwen/Qwen3-8B", "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", True),
        ("models/mine", "models/mine/", True),
        ("Qwen/Qwen3-8B", "meta-llama/Llama-3.3-70B-Instruct", False),
        ("models/mine", {"model": "models/yours", "family": "mine"}, False),
        ({"model": "a", "family": "Qwen"}, {"model": "b", "family": "qwen"}, True),
    ],
)
def test_a_judge_of_the_teachers_family_is_refused_unless_allowed(teacher: Any, judge: Any, related: bool) -> None:
    if not related:
        job_from(job(teacher=teacher, judge=judge))
        return
    with pytest.raises(BadJob, match=r"another family than the teacher's.*allow_related_judge"):
        job_from(job(teacher=teacher, judge=judge))
    job_from(job(teacher=teacher, judge=judge, allow_related_judge=True))


def test_a_prefer_job_without_a_judge_is_refused_and_with_a_judge_makes_pairs(tmp_path: Path) -> None:
    (tmp_path / "seeds.jsonl").write_text("".join(json.dumps({"prompt": f"question {n}"}) + "\n" for n in range(40)))
    document = job(teacher={"engine": "scripted"}) | {
        "seeds": str(tmp_path / "seeds.jsonl"),
        "split": {"fractions": {"train": 1.0}},
        "output": str(tmp_path / "out"),
        "cluster": {"engine": "local"},
    }
    with pytest.raises(JobError, match=r"models\.judge: wanted the judge that recipe 'prefer' asks"):
        synth_ray.run(document)
    document["models"]["judge"] = {"engine": "scripted", "script": {"vocabulary": 50}}
    rows = synth_ray.run(document).manifest["rows"]
    assert rows["accepted"] + sum(rows["rejected"].values()) == 40
    assert set(rows["rejected"]) <= {"tie", "no_agreement"}
    assert rows["accepted"] > 0 < rows["rejected"]["no_agreement"]


@pytest.mark.vllm
def test_the_real_engine_as_teacher_and_judge_makes_a_pair_or_a_reason(vllm_teacher: Teacher) -> None:
    roles = {"teacher": vllm_teacher, "judge": vllm_teacher}
    [draft] = run_recipe(
        {"name": "prefer", "temperature": 1.2}, roles, from_seed=seed("Hello. When will the grey keyboard be in stock?")
    ).drafts
    assert draft.reason in (None, Reason.TIE, Reason.NO_AGREEMENT)


CRITERIA = {"correct": "no error of fact", "clear": "easy to follow"}


class RubricAsk:
    """The `ask` that a recipe gives to `score_answer`."""

    def __init__(self, teacher: Teacher) -> None:
        self._teacher = teacher

    async def __call__(self, messages: list[Message], *, role: str, constraint: Constraint, **sampling: Any) -> Completion:
        assert (role, sampling["temperature"]) == ("judge", 0.0)
        return (await self._teacher.answer(Prompt(messages, "k", constraint=constraint, sampling=sampling)))[0]


def rubric(teacher: Teacher) -> dict[str, int] | None:
    return asyncio.run(score_answer(RubricAsk(teacher), "2 + 2?", "4", criteria=CRITERIA))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("reply", "scores"),
    [
        ('{"correct":5,"clear":2}', {"correct": 5, "clear": 2}),
        ('{"correct":6,"clear":2}', None),
        ('{"correct":true,"clear":2}', None),
        ('{"correct":5}', None),
        ("5", None),
    ],
)
def test_a_rubric_gives_a_whole_score_of_1_to_5_for_each_criterion_or_none(reply: str, scores: Any) -> None:
    assert rubric(replying(reply)) == scores


@pytest.mark.vllm
def test_a_real_judge_fills_in_the_rubric(vllm_teacher: Teacher) -> None:
    scores = rubric(vllm_teacher)
    assert scores is not None
    assert set(scores) == set(CRITERIA)
