"""Thoughts reach each trainer where it reads them: exported rows are rendered with the chat templates of published models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import pytest
import trl
from transformers import AutoTokenizer

import synth_ray
from synth_ray.cli.main import main
from synth_ray.dataset.thoughts import DEFAULT_PLACE
from synth_ray.plan.shapes import canonical_fields
from synth_ray.recipes.markup import call_text
from synth_ray.recipes.seed_thoughts import thought_inside
from tests.conftest import TINY_TEACHER

TEMPLATES = Path(trl.__file__).parent / "chat_templates"
WORDS = ["ferry", "lamp", "river", "kettle", "orchard", "violin"]
EMPTY = "<think>\n\n</think>\n\n"
CALL = call_text("track", {"order": "KZ"})
TOOLS = [{"type": "function", "function": {"name": "track", "description": "where", "parameters": {"type": "object"}}}]


def thinking(word: str) -> list[dict[str, Any]]:
    thought = f"someone asks for a {word}, so I say what it is"
    return [
        {"role": "user", "content": f"What is a {word} and who first thought of it?"},
        {"role": "assistant", "content": f"A {word} is a thing.", "reasoning_content": thought},
    ]


ROWS: list[dict[str, Any]] = [
    *({"messages": thinking(word), "rejected": f"No {word}."} for word in WORDS),
    {"messages": [*thinking("granite wall")[:1], {"role": "assistant", "content": "A wall of granite, built at once."}]},
    {"messages": [*thinking("harbour"), *thinking("needle")]},
    {
        "messages": [
            {"role": "user", "content": "Where is my parcel?"},
            {"role": "assistant", "content": CALL, "reasoning_content": "I have to look it up"},
            {"role": "tool", "content": "Oslo"},
            {"role": "assistant", "content": "In Oslo.", "thinking": "the tool says Oslo"},
        ],
        "tools": TOOLS,
    },
    {"prompt": "May I send it back?", "answer": "<think>\nthirty days, I think\n</think>\n\nYou may, for 30 days."},
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("thoughts")
    for name, rows in {"turns": ROWS[:-1], "plain": ROWS[-1:]}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    document = {
        "name": "thoughts",
        "seeds": [str(folder / "turns.jsonl"), str(folder / "plain.jsonl")],
        "recipe": {"name": "build", "keep": ["rejected", "tools"], "reasoning": "keep"},
        "models": "none",
        "dedup": {"near": False},
        "split": {"fractions": {"train": 1.0}},
        "output": str(folder / "out"),
        "cluster": {"engine": "local"},
    }
    assert synth_ray.run(document).manifest["rows"]["accepted"] == len(ROWS)
    return folder / "out"


def exported(dataset: Path, folder: Path, name: str, *options: str) -> list[dict[str, Any]]:
    assert main(["export", str(dataset), "--format", name, "--to", str(folder), *options]) == 0
    return [json.loads(line) for path in folder.glob("*.jsonl") for line in path.read_text().splitlines()]


def last_thoughts(dataset: Path) -> dict[str, str]:
    """The thought of each row's answer, by its last question."""
    rows = datasets.load_dataset(str(dataset), cache_dir=str(dataset / "cache"))["train"]
    return {question_of(row["messages"]): row["reasoning"] or "" for row in rows}


def question_of(messages: list[dict[str, Any]]) -> str:
    return str([turn["content"] for turn in messages if turn["role"] == "user"][-1])


def test_rows_have_the_thoughts_of_their_seeds_in_a_column_and_in_their_messages(dataset: Path) -> None:
    rows = datasets.load_dataset(str(dataset), cache_dir=str(dataset / "cache"))["train"].to_list()
    assert sum(bool(row["reasoning"]) for row in rows) == len(ROWS) - 1
    for row in rows:
        assert row["messages"][-1]["reasoning"] == row["reasoning"]
        assert "think>" not in row["completion"] and "reasoning" not in row["fields"]
    [tools] = [row for row in rows if row["messages"][0]["content"] == "Where is my parcel?"]
    assert [turn["reasoning"] for turn in tools["messages"]] == [None, "I have to look it up", None, "the tool says Oslo"]


FIELD = ["qwen3", "qwen3_training", "qwen3_5_think", "qwen3_8", "glm4moe", "nemotron_3_nano", "lfm2_2_5_v2", "gemma4_v5"]


@pytest.mark.parametrize(
    ("template", "place"),
    [
        *((name, "field") for name in FIELD),
        *((name, "thinking") for name in ("gptoss", "gptoss_training", "lfm2_2_5")),
        *((name, "inline") for name in ("qwen3", "qwen3_training", "deepseek_r1_distill_training", "qwen3_5_think")),
    ],
)
def test_a_template_renders_the_last_thought_once(dataset: Path, template: str, place: str, tmp_path: Path) -> None:
    """Of rows as `datasets` loads them and TRL hands them on: without the nulls that a table gives to absent keys."""
    exported(dataset, tmp_path, "trl-sft", "--thoughts", place)
    files = [str(path) for path in tmp_path.glob("*.jsonl")]
    rows = datasets.load_dataset("json", data_files=files, cache_dir=str(tmp_path / "cache"))["train"]
    tokenizer = AutoTokenizer.from_pretrained(TINY_TEACHER)
    text, thoughts = (TEMPLATES / f"{template}.jinja").read_text(), last_thoughts(dataset)
    for row in rows:
        messages = [{name: value for name, value in turn.items() if value is not None} for turn in row["messages"]]
        thought = thoughts[question_of(messages)]
        if "gptoss" in template and messages[-2]["role"] == "tool":
            continue  # it reads calls from a field alone, and this format has them in the text
        rendered = tokenizer.apply_chat_template(messages, chat_template=text, tokenize=False)
        answer = thought_inside(messages[-1]["content"])[0]
        assert rendered.count(answer) == 1, template
        if thought:
            assert rendered.count(thought) == 1, template


def test_models_that_read_no_field_need_thoughts_inside_the_text(dataset: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(TINY_TEACHER)
    text = (TEMPLATES / "deepseek_r1_distill_training.jinja").read_text()
    for place, shown in (("field", False), ("inline", True)):
        row = exported(dataset, tmp_path / place, "trl-sft", "--thoughts", place)[0]
        rendered = tokenizer.apply_chat_template(row["messages"], chat_template=text, tokenize=False)
        assert ("so I say what it is" in rendered) is shown


@pytest.mark.parametrize("name", ["sharegpt", "llama-factory", "ms-swift"])
def test_in_a_set_with_thoughts_an_answer_without_one_begins_with_an_empty_block(
    dataset: Path, name: str, tmp_path: Path
) -> None:
    rows = exported(dataset, tmp_path, name)
    turns = [row.get("messages") or [*row["conversations"], *([row["chosen"]] if "chosen" in row else [])] for row in rows]
    answers = [turn[-1].get("content") or turn[-1].get("value") for turn in turns]
    assert all(answer.startswith("<think>\n") and "</think>\n\n" in answer for answer in answers)
    without = [answer for answer in answers if answer.startswith(EMPTY)]
    assert without == ([] if name == "llama-factory" else [f"{EMPTY}A wall of granite, built at once."])
    if name == "llama-factory":  # as the dataset has pairs, it has these alone
        assert all(row["rejected"]["value"].startswith(EMPTY) for row in rows)


def test_a_set_without_thoughts_has_no_block(dataset: Path, tmp_path: Path) -> None:
    for name in DEFAULT_PLACE:
        text = json.dumps(exported(dataset, tmp_path / name, name, "--thoughts", "drop"))
        assert "think" not in text.replace("who first thought", "") and "reasoning" not in text


def test_every_call_and_thought_of_ms_swift_is_read_back(dataset: Path, tmp_path: Path) -> None:
    [row] = [row for row in exported(dataset, tmp_path, "ms-swift") if row["messages"][0]["content"] == "Where is my parcel?"]
    assert [(turn["role"], turn["content"]) for turn in row["messages"]] == [
        ("user", "Where is my parcel?"),
        ("assistant", "<think>\nI have to look it up\n</think>\n\n"),
        ("tool_call", CALL.removeprefix("<tool_call>").removesuffix("</tool_call>").strip()),
        ("tool_response", "Oslo"),
        ("assistant", "<think>\nthe tool says Oslo\n</think>\n\nIn Oslo."),
    ]
    read = canonical_fields(row, shape="auto", mapping={})
    assert [turn["content"] for turn in read["tool_turns"]] == [CALL, "Oslo"]
    assert read["turn_fields"][1] == {"reasoning_content": "I have to look it up"}


def test_what_is_left_out_and_what_templates_leave_out_is_told(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told: Mapping[str, str] = {
        "openai-sft": "the reasoning of 9 left out (openai-sft has no place for it)",
        "trl-sft": "thoughts of earlier turns in 2, which most chat templates leave out",
    }
    for name, sentence in told.items():
        exported(dataset, tmp_path / name, name)
        assert sentence in capsys.readouterr().out
    for name, wanted in (("jsonl", "no --thoughts"), ("llama-factory", "--thoughts inline or drop")):
        assert main(["export", str(dataset), "--format", name, "--to", str(tmp_path / "x"), "--thoughts", "field"]) == 2
        assert wanted in capsys.readouterr().err


def test_axolotl_is_told_of_a_field_that_it_does_not_know(dataset: Path, tmp_path: Path) -> None:
    exported(dataset, tmp_path / "default", "axolotl")
    assert "thinking" not in (tmp_path / "default" / "axolotl.yml").read_text()  # reasoning_content is its own default
    exported(dataset, tmp_path / "named", "axolotl", "--thoughts", "thinking")
    assert (
        "    field_thinking: thinking\n    template_thinking_key: thinking\n" in (tmp_path / "named" / "axolotl.yml").read_text()
    )
