"""A pair is kept only when its winner wins in both orders; a judge is named, and is no kin of the teacher."""

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
from synth_ray.job.load import BadJob, job_from
from synth_ray.recipes.contract import Completion, Constraint
from synth_ray.recipes.judge import score_answer
from synth_ray.records import Message, Reason
from tests.unit.recipes.standins import Says, made, says, seed


def answers(prompt: Prompt, n: int) -> str:
    return f"answer {n} of quality {(n * 7 + len(prompt.messages[-1]['content'])) % 5}"


def longest_first(_prompt: Prompt, _n: int) -> str:
    return "A"


def by_quality(prompt: Prompt, _n: int) -> str:
    a, b = (int(q) for q in re.findall(r"quality (\d)", prompt.messages[-1]["content"]))
    return "tie" if a == b else "A" if a > b else "B"


def prefer(judge: Says, **options: Any) -> list[Any]:
    roles = {"teacher": says(answers), "judge": says(judge)}
    return [made({"name": "prefer"} | options, roles, one=seed("why " * n)).drafts[0] for n in range(1, 60)]


def test_a_judge_that_favours_a_place_keeps_no_pair() -> None:
    for n in (2, 4):
        assert {d.reason for d in prefer(longest_first, n=n)} == {Reason.NO_AGREEMENT}
        assert {d.reason for d in prefer(lambda *_: "B", n=n)} == {Reason.NO_AGREEMENT}


def test_a_fair_judges_winner_is_chosen_and_its_ties_are_told() -> None:
    for draft in prefer(by_quality, n=4):
        chosen, rejected = (int(text[-1]) for text in (draft.completion, draft.fields["rejected"]))
        assert chosen > rejected
    assert {d.reason for d in prefer(lambda *_: "tie")} == {Reason.TIE}
    assert prefer(lambda *_: "tie")[0].detail == "tie 1"


def test_answers_that_say_the_same_are_a_tie_that_nobody_judges() -> None:
    judge = says("A")
    [draft] = made({"name": "prefer"}, {"teacher": says("same"), "judge": judge}).drafts
    assert (draft.reason, judge.asked) == (Reason.TIE, [])


def test_the_judge_is_asked_at_temperature_0_and_sees_both_orders() -> None:
    judge = says(by_quality)
    made({"name": "prefer", "temperature": 1.5}, {"teacher": says(answers), "judge": judge}, one=seed("w{a}y {question}"))
    there, back = (p.messages[-1]["content"] for p in judge.asked)
    assert there.index("answer 0") < there.index("answer 1")
    assert back.index("answer 1") < back.index("answer 0")
    assert "Question: w{a}y {question}" in there
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


def test_a_job_without_the_judge_its_recipe_asks_is_refused_and_with_one_it_makes_pairs(tmp_path: Path) -> None:
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
def test_one_real_engine_in_both_roles_judges_in_the_asked_forms(vllm_teacher: Teacher) -> None:
    roles = {"teacher": vllm_teacher, "judge": vllm_teacher}
    [draft] = made(
        {"name": "prefer", "temperature": 1.2}, roles, one=seed("Hello. When will the grey keyboard be in stock?")
    ).drafts
    assert draft.reason in (None, Reason.TIE, Reason.NO_AGREEMENT)


CRITERIA = {"correct": "no error of fact", "clear": "easy to follow"}


class Rubric:
    """A recipe's ask, as a rubric sees it."""

    def __init__(self, teacher: Teacher) -> None:
        self._teacher = teacher

    async def __call__(self, messages: list[Message], *, role: str, constraint: Constraint, **sampling: Any) -> Completion:
        assert (role, sampling["temperature"]) == ("judge", 0.0)
        return (await self._teacher.answer(Prompt(messages, "k", constraint=constraint, sampling=sampling)))[0]


def rubric(teacher: Teacher) -> dict[str, int] | None:
    return asyncio.run(score_answer(Rubric(teacher), "2 + 2?", "4", criteria=CRITERIA))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "scores"),
    [
        ('{"correct":5,"clear":2}', {"correct": 5, "clear": 2}),
        ('{"correct":6,"clear":2}', None),
        ('{"correct":true,"clear":2}', None),
        ('{"correct":5}', None),
        ("5", None),
    ],
)
def test_a_rubric_gives_a_whole_score_of_1_to_5_for_each_criterion_or_none(said: str, scores: Any) -> None:
    assert rubric(says(said)) == scores


@pytest.mark.vllm
def test_a_real_judge_fills_in_the_rubric(vllm_teacher: Teacher) -> None:
    scores = rubric(vllm_teacher)
    assert scores is not None
    assert set(scores) == set(CRITERIA)
