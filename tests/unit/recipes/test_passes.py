"""`passes`: rates from verified answers, asked for until they are settled; a fault of the verifier is none of the answer."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

import synth_ray
from synth_ray.ask.teacher import Prompt
from synth_ray.job.load import job_from
from synth_ray.job.problems import BadJob
from synth_ray.recipes.catalogue import options_of
from synth_ray.recipes.contract import Completion
from synth_ray.records import Draft, Outcome, Reason, Verdict, verdict_of
from synth_ray.verify.intervals import wilson
from tests.house.test_house import ROOT
from tests.unit.recipes.fake_teacher import FakeTeacher, replying, run_recipe, seed

ALWAYS = {"accept": "all", "steps": [8]}


class Scripted(FakeTeacher):
    """Answers with whole completions of a list, one after the other."""

    def __init__(self, answers: list[Completion]) -> None:
        super().__init__(lambda _prompt, _n: "")
        self._left = list(answers)

    async def answer(self, prompt: Prompt) -> list[Completion]:
        self.asked.append(prompt)
        return [self._left.pop(0) for _ in range(prompt.n)]


def said(*texts: str, cut: int = 0) -> Scripted:
    """Answers with these texts, the last `cut` of them cut off."""
    whole = len(texts) - cut
    return Scripted([Completion(text, "stop" if place < whole else "length", 3, 5) for place, text in enumerate(texts)])


def passes(
    teacher: FakeTeacher, gold: Any = "4", number: int = 0, fields: dict[str, Any] | None = None, **options: Any
) -> Outcome:
    from_seed = seed(answer=gold, **(fields or {}))
    return run_recipe({"name": "passes"} | options, teacher, from_seed=from_seed, number=number)


def row(teacher: FakeTeacher, gold: Any = "4", **options: Any) -> Draft:
    [draft] = passes(teacher, gold, **options).drafts
    return draft


def test_the_columns_count_every_answer_once() -> None:
    teacher = said("#### 4", "4", "so 2 + 2 = 4\n#### 4", "#### 5", "#### 7", "#### 5", "dunno", "#### 4", cut=1)
    outcome = passes(teacher, **ALWAYS, k=[1, 2, 8])
    [draft] = outcome.drafts
    fields = draft.fields
    counted = {name: fields[name] for name in ("n", "judged", "correct", "wrong", "no_answer", "truncated")}
    assert counted == {"n": 8, "judged": 7, "correct": 3, "wrong": 3, "no_answer": 1, "truncated": 1}
    assert (fields["pass_rate_low"], fields["pass_rate_high"]) == pytest.approx(wilson(3, 7), abs=1e-6)
    assert fields["pass_at_k"] == {"1": pytest.approx(3 / 7, abs=1e-6), "2": pytest.approx(1 - 6 / 21, abs=1e-6), "8": None}
    assert (draft.completion, fields["answer_by"], fields["difficulty"]) == ("4", "shortest", "medium")
    assert (fields["rejected"], fields["wrong_answers"]) == ("#### 5", ["#### 5", "#### 7"])
    assert outcome.attempts == {"not_the_best": 2, "wrong_answer": 3, "no_final_answer": 1, "truncated": 1}
    assert row(said("#### 4", "#### 5", cut=1), steps=[2], accept="all", truncated="wrong").fields["judged"] == 2


def test_a_right_answer_the_majority_and_the_gold_are_rows_from_the_same_asks() -> None:
    texts = ["#### 5", "It is five.\n#### 5", "A long way to say it.\n#### 4", "#### 5", "#### 4"]
    drafts = passes(said(*texts), steps=[5], accept="all", answers=["first", "shortest", "majority", "gold"]).drafts
    assert [(d.completion, d.fields["answer_by"], d.fields["answer_verdict"]) for d in drafts] == [
        (texts[2], "first", "right"),
        ("#### 4", "shortest", "right"),
        ("#### 5", "majority", "wrong"),
        ("4", "gold", "right"),
    ]
    assert {d.fields["agreement"] for d in drafts} == {0.6}
    unsolved = row(replying("#### 5"), **ALWAYS)
    assert (unsolved.completion, unsolved.fields["answer_by"], unsolved.fields["difficulty"]) == ("4", "gold", "unsolved")


def test_a_thought_is_never_verified_and_stays_with_the_answer_that_is_kept() -> None:
    thought = [Completion("#### 5", "stop", 3, 5, reasoning="#### 4"), Completion("#### 4", "stop", 3, 5, reasoning="#### 9")]
    draft = row(Scripted([*thought, Completion("", "length", 3, 5, reasoning="#### 4")]), steps=[3], accept="all")
    assert (draft.completion, draft.reasoning, draft.fields["correct"], draft.fields["truncated"]) == ("#### 4", "#### 9", 1, 1)


@pytest.mark.parametrize(
    ("right", "reason", "asked"),
    [(0, Reason.TOO_HARD, 7), (16, Reason.TOO_EASY, 7), (8, None, 16)],
    ids=["never", "ever", "half"],
)
def test_asking_ends_when_the_side_of_the_band_is_settled(right: int, reason: Reason | None, asked: int) -> None:
    texts = ["#### 4" if right == 16 or (right and n % 2) else "#### 5" for n in range(16)]
    draft = row(said(*texts))
    assert (draft.reason, draft.fields["n"]) == (reason, min(asked, draft.fields["n"]))
    assert draft.fields["n"] <= asked
    one_step = row(said(*texts), steps=[16])
    assert (one_step.reason, one_step.fields["n"]) == (reason, 16)


@pytest.mark.parametrize("gold", ["", "no number", None, 7.5, {"a": 1}])
def test_nothing_is_asked_where_the_gold_is_at_fault(gold: Any) -> None:
    teacher = replying("#### 7.5")
    draft = row(teacher, gold, **ALWAYS)
    is_fine = gold == 7.5
    assert (draft.reason, bool(teacher.asked)) == ((None, True) if is_fine else (Reason.UNVERIFIABLE, False))
    denied = run_recipe(
        {"name": "passes", "reference": "worked", **ALWAYS}, teacher, from_seed=seed(answer="3", worked="1 + 1 = 2\n#### 2")
    ).drafts[0]
    assert (denied.reason, denied.detail) == (Reason.UNVERIFIABLE, "the reference is not right: another final number")


OWN = """
import os, sys, time

def equal(answer, gold):
    print("a line on stdout")
    return answer == gold

def hangs(answer, gold):
    if answer:
        time.sleep(60)
    return False

def crashes(answer, gold):
    if answer:
        os._exit(3)

def raises(answer, gold):
    return answer["x"]

def lies(answer, gold):
    return True

def mumbles(answer, gold):
    return "yes" if answer else False

def abstains(answer, gold):
    return None

def forges(answer, gold):
    if answer:
        os.write(1, b'["0", {"value": true}]' + bytes([10]))
        os.write(1, b'["0", {"value": true}]' + bytes([10]))
    return 0.25
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my_verifiers.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "my_verifiers"


@pytest.mark.parametrize(
    ("function", "reason", "detail"),
    [
        ("equal", None, ""),
        ("forges", Reason.TOO_HARD, "no right answer"),
        ("hangs", Reason.VERIFIER_FAILED, "no verdict in time"),
        ("crashes", Reason.VERIFIER_FAILED, "the process ended"),
        ("raises", Reason.VERIFIER_FAILED, "raised TypeError"),
        ("lies", Reason.VERIFIER_FAILED, "says that an empty answer is right"),
        ("mumbles", Reason.VERIFIER_FAILED, "returned str, not a bool, a number from 0 to 1 or None"),
        ("abstains", Reason.UNVERIFIABLE, "abstained"),
    ],
)
def test_a_verifier_that_hangs_crashes_or_lies_is_told_apart_from_a_wrong_answer(
    own: str, function: str, reason: Reason | None, detail: str
) -> None:
    limits = {"verifier_seconds": 0.5 if function == "hangs" else 20}
    draft = row(replying(lambda _p, n: str(4 + n % 2)), verifier=f"{own}:{function}", steps=[2], accept="all", **limits)
    assert draft.reason is reason
    assert detail in draft.detail
    if function in ("equal", "forges"):
        assert (draft.fields["correct"], draft.fields["wrong"]) == ((1, 1) if function == "equal" else (0, 2))
    if reason is Reason.VERIFIER_FAILED:
        assert verdict_of(reason) is Verdict.FAILED


def options(**more: Any) -> Any:
    document = {"name": "j", "seeds": "s.jsonl", "recipe": {"name": "passes"} | more, "models": {"teacher": "m"}, "output": "o"}
    return options_of(job_from(document).recipe)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"template": "{{ prompt }} {{ answer }}"}, "wanted an ask without the truth, got one that shows 'answer'"),
        ({"gold": "tests", "verifier": "code", "template": "{{ prompt }} {{ tests }}"}, "got one that shows 'tests'"),
        ({"steps": [4, 4]}, "wanted ascending numbers of answers"),
        ({"band": [0.8, 0.2]}, "the lower one first"),
        ({"difficulty": {"hard": 0.5}}, "ascend to 1"),
        ({"difficulty": {"solved": 1.0}}, "wanted names other than 'solved'"),
        ({"verifier": "arithmetik"}, "wanted one of arithmetic, math"),
        ({"verifier": "no_such_module_here:verify"}, "could not import it: ModuleNotFoundError"),
        ({"verifier": "json_schema", "answers": "majority"}, "wanted a verifier that tells the final answer"),
        ({"answers": ["first", "first"]}, "wanted each way once"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(BadJob, match=message.replace("[", r"\[")):
        options(**wrong)


RATES = {"never": 0.0, "seldom": 0.15, "even": 0.5, "mostly": 0.85, "ever": 1.0}


def planted(folder: Path, per_rate: int, **more: Any) -> dict[str, Any]:
    """A job whose scripted teacher answers right with the probability that each prompt names."""
    numbers = random.Random(3).sample(range(1000, 9999), per_rate * len(RATES))
    rows = [
        {"prompt": f"{name} asked for: {number} {number * 7}?", "answer": str(number)}
        for (number, name) in zip(numbers, list(RATES) * per_rate, strict=True)
    ]
    (folder / "seeds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    limits = "{" + ", ".join(f"'{name}': {int(1000 * rate)}" for name, rate in RATES.items()) + "}"
    answer = (
        f"{{% set said = prompt.split()[3] | int %}}#### {{{{ said if number < {limits}[prompt.split()[0]] else said + 1 }}}}"
    )
    document: dict[str, Any] = {
        "name": "passes",
        "seeds": str(folder / "seeds.jsonl"),
        "recipe": {"name": "passes"},
        "models": {"teacher": {"engine": "scripted", "script": {"answers": [answer]}}},
        "plan": {"chunk_requests": 32},
        "dedup": {"near": False},
        "split": {"fractions": {"train": 1.0}},
        "output": str(folder / "out"),
        "cluster": {"engine": "local", "in_flight": 64},
    }
    for key, value in more.items():
        document[key] = {**document.get(key, {}), **value} if isinstance(value, dict) else value
    return document


def rows_of(manifest: dict[str, Any], folder: Path, columns: str) -> list[Any]:
    parts = [f"{folder}/out/{file['path']}" for file in manifest["files"]]
    return duckdb.sql(f"select {columns} from read_parquet({parts})").fetchall()


def test_planted_rates_are_found_and_the_funnel_adds_up(tmp_path: Path) -> None:
    manifest = synth_ray.run(planted(tmp_path, 40, recipe={"steps": [32], "accept": "all"})).manifest
    found: dict[str, list[int]] = {name: [] for name in RATES}
    inside = 0
    for prompt, n, correct, low, high in rows_of(manifest, tmp_path, "prompt, n, correct, pass_rate_low, pass_rate_high"):
        name = prompt.split()[0]
        found[name].append(correct)
        inside += low <= RATES[name] <= high
        assert n == 32
    assert {name: len(correct) for name, correct in found.items()} == dict.fromkeys(RATES, 40)
    for name, correct in found.items():
        assert abs(sum(correct) / (40 * 32) - RATES[name]) < 0.04
    assert inside >= 0.9 * 200
    banded = synth_ray.run(planted(tmp_path, 40, output=str(tmp_path / "banded"))).manifest["rows"]
    assert banded["requested"] == 200 == banded["accepted"] + sum(banded["rejected"].values()) + sum(banded["failed"].values())
    assert banded["rejected"]["too_hard"] >= 60 <= banded["rejected"]["too_easy"]


def test_a_balance_over_difficulty_gives_the_exact_number_of_each(tmp_path: Path) -> None:
    shares = {"unsolved": 1, "hard": 1, "medium": 2, "easy": 1, "solved": 1}
    target = {"accepted": 60, "balance": {"by": "difficulty", "shares": shares}, "max_requests": 1000, "lag": 2}
    manifest = synth_ray.run(planted(tmp_path, 60, recipe={"steps": [8], "accept": "all"}, target=target)).manifest
    counts = Counter(difficulty for (difficulty,) in rows_of(manifest, tmp_path, "difficulty"))
    assert counts == {"unsolved": 10, "hard": 10, "medium": 20, "easy": 10, "solved": 10}
    assert manifest["complete"]


def test_a_crashed_run_resumes_to_the_same_rows_without_asking_again(tmp_path: Path) -> None:
    whole = synth_ray.run(planted(tmp_path, 20)).manifest

    class Crash(Exception):
        pass

    def crash(tally: Any) -> None:
        if tally.requests_done >= 40:
            raise Crash

    document = planted(tmp_path, 20, output=str(tmp_path / "crashed"))
    with pytest.raises(Crash):
        synth_ray.run(document, watch=crash)
    assert synth_ray.run(document).manifest["dataset_digest"] == whole["dataset_digest"]


def test_the_job_to_copy_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = yaml.safe_load((ROOT / "jobs" / "passes.yaml").read_text())
    monkeypatch.chdir(ROOT)
    document |= {"models": {"teacher": {"engine": "scripted", "script": {"answers": ["#### 20", "#### {{ number }}"]}}}}
    document["output"] = str(tmp_path / "out")
    rows = synth_ray.run(document).manifest["rows"]
    assert rows["requested"] == rows["accepted"] + sum(rows["rejected"].values())
    assert rows["rejected"]["too_hard"] > 0
    assert not rows["failed"]
