"""Exports for training with verifiable rewards: each is read by its trainer's reader, or by the keys that its source requires."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import datasets
import pytest
from pydantic import BaseModel, ConfigDict

import synth_ray
from synth_ray.cli.main import main
from synth_ray.dataset.conversation import NotRepresentable
from synth_ray.dataset.formats import FORMATS
from synth_ray.dataset.reward_formats import REWARD_FORMATS, VERL_SCHEMA

GOLDS = ["72", "#### 1,234.50", "The sum is 7.\n#### -3", "1/3", "$18"]
PLAIN = ["72", "1234.5", "-3", "1/3", "18"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Problems with a gold, of which the model gets some answers right."""
    folder = tmp_path_factory.mktemp("rewards")
    rows = [{"prompt": f"problem {'abcde'[place]} of {gold[-4:]}?", "answer": gold} for place, gold in enumerate(GOLDS)]
    (folder / "seeds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    right = f"#### {{{{ {dict(zip('abcde', PLAIN, strict=True))}[prompt.split()[1]] }}}}"
    document = {
        "name": "rewards",
        "seeds": str(folder / "seeds.jsonl"),
        "recipe": {"name": "passes", "system": "Think.", "steps": [16], "accept": "all"},
        "models": {"teacher": {"engine": "scripted", "script": {"answers": [right, "#### 99"]}}},
        "dedup": {"near": False},
        "split": {"fractions": {"train": 1.0}},
        "output": str(folder / "out"),
        "cluster": {"engine": "local"},
    }
    assert synth_ray.run(document).manifest["rows"]["accepted"] == len(GOLDS)
    return folder / "out"


def exported(dataset: Path, name: str) -> datasets.Dataset:
    """The rows as `datasets` loads them, which all four trainers use."""
    assert main(["export", str(dataset), "--format", name, "--to", str(dataset / name)]) == 0
    [file] = (dataset / name).glob("train.*")
    kind = {".parquet": "parquet", ".jsonl": "json"}[file.suffix]
    return datasets.load_dataset(kind, data_files=str(file), cache_dir=str(dataset / "cache"))["train"]


def test_trl_rewards_a_right_answer_and_no_other(dataset: Path) -> None:
    pytest.importorskip("math_verify")
    from trl.data_utils import is_conversational
    from trl.rewards import accuracy_reward

    rows = exported(dataset, "trl-grpo")
    assert len(rows) == len(GOLDS)
    assert is_conversational({"prompt": rows[0]["prompt"]})
    assert [turn["role"] for turn in rows[0]["prompt"]] == ["system", "user"]
    columns = {name: list(rows[name]) for name in rows.column_names}
    for text, reward in (("{}", 1.0), ("1{}1", 0.0)):
        said = [solution.removeprefix("\\boxed{").removesuffix("}") for solution in columns["solution"]]
        completions = [[{"role": "assistant", "content": f"so $\\boxed{{{text.format(number)}}}$"}] for number in said]
        assert accuracy_reward(completions=completions, **columns) == [reward] * len(rows)


def test_verl_finds_its_columns_and_a_scorer_of_its_own(dataset: Path) -> None:
    """As `verl.utils.dataset.rl_dataset.RLHFDataset` and `reward_score.gsm8k` of verl 0.9.1 read them."""
    rows = exported(dataset, "verl")
    assert set(rows.column_names) == {"data_source", "prompt", "ability", "reward_model", "extra_info"}
    for row in rows:
        assert isinstance(row["extra_info"].get("index"), str)
        assert [turn["role"] for turn in row["prompt"]] == ["system", "user"]
        truth = row["reward_model"]["ground_truth"]
        assert row["data_source"] == ("lighteval/MATH" if truth == "1/3" else "openai/gsm8k")
        if row["data_source"] == "openai/gsm8k":
            assert re.findall(r"#### (\-?[0-9\.\,]+)", f"#### {truth}") == [truth]
    truths = {row["reward_model"]["ground_truth"] for row in rows}
    assert truths == set(PLAIN)


def test_verifiers_gets_a_prompt_an_answer_and_info_as_text(dataset: Path) -> None:
    """As `verifiers.envs.environment.Environment._ensure_prompt` and `types.RolloutInput` of verifiers 0.1.14 read them."""
    for row in exported(dataset, "verifiers"):
        assert {"prompt", "question", "answer", "info", "task"} <= set(row)
        assert "example_id" not in row  # the environment numbers its rows itself
        assert isinstance(row["prompt"], list)
        assert isinstance(row["answer"], str)
        assert {"pass_rate", "difficulty"} <= set(json.loads(row["info"]))


class Params(BaseModel):
    """Of `nemo_gym.openai_utils`: what becomes a request to the model."""

    model_config = ConfigDict(extra="forbid")
    input: list[dict[str, str]]


class MathTask(BaseModel):
    """As `resources_servers/math_with_judge/task_data.py` of NeMo Gym."""

    model_config = ConfigDict(extra="allow")
    responses_create_params: Params
    question: str
    expected_answer: str


class UnitTests(BaseModel):
    """As `resources_servers/code_gen/app.py` of NeMo Gym."""

    inputs: list[str]
    outputs: list[str]
    fn_name: str | None = None


def test_nemo_gyms_servers_validate_every_line(dataset: Path) -> None:
    rows = exported(dataset, "nemo-rl")
    tasks = [MathTask.model_validate_json(line) for line in (dataset / "nemo-rl" / "train.jsonl").read_text().splitlines()]
    assert {task.expected_answer for task in tasks} == set(PLAIN)
    assert len(tasks) == len(rows)


def row(verifier: str, truth: str | None, **more: Any) -> dict[str, Any]:
    said = [{"role": "user", "content": "Add."}, {"role": "assistant", "content": "print(1)"}]
    fields = {"ground_truth": truth, "verifier": verifier, "pass_rate": 0.5, "n": 4, "correct": 2, "difficulty": "medium"}
    return {"id": "r1", "split": "train", "messages": said, "fields": json.dumps(fields | more)}


def test_programs_carry_their_cases_and_no_prompt_shows_the_truth() -> None:
    cases = {"inputs": ["1 2\n", "3 4\n"], "outputs": ["3\n", "7\n"]}
    calls = {"fn_name": "add", "inputs": [[1, 2]], "outputs": [3]}
    gym = FORMATS["nemo-rl"](row("code", json.dumps(cases)))
    assert UnitTests.model_validate(gym["verifier_metadata"]["unit_tests"]).inputs == cases["inputs"]
    called = FORMATS["nemo-rl"](row("code", json.dumps(calls)))["verifier_metadata"]["unit_tests"]
    assert UnitTests.model_validate(called) == UnitTests(inputs=["1\n2"], outputs=["3"], fn_name="add")
    record = FORMATS["verl"](row("code", json.dumps(calls)))
    assert (record["data_source"], json.loads(record["reward_model"]["ground_truth"])) == ("taco", calls)
    asserts = FORMATS["verl"](row("code", "assert add(1, 2) == 3"))
    assert asserts["data_source"] == "synth_ray/code"
    for name, project in REWARD_FORMATS.items():
        record = project(row("math", "x > 31337"))
        shown = record["responses_create_params"]["input"] if name == "nemo-rl" else record["prompt"]
        assert "31337" in json.dumps(record)
        assert "31337" not in json.dumps(shown)


@pytest.mark.parametrize("name", REWARD_FORMATS)
def test_a_row_without_a_truth_is_left_out_with_the_reason(name: str) -> None:
    with pytest.raises(NotRepresentable, match="no ground truth"):
        FORMATS[name](row("math", None))


def test_tests_that_are_no_cases_are_left_out_of_gym() -> None:
    with pytest.raises(NotRepresentable, match="tests that are no cases"):
        FORMATS["nemo-rl"](row("code", "assert add(1, 2) == 3"))


def test_verls_rows_have_the_columns_of_its_schema() -> None:
    record = FORMATS["verl"](row("label", "spam"))
    assert set(record) == set(VERL_SCHEMA.names)
    assert record["data_source"] == "synth_ray/label"
