"""Each export loads in `datasets` and follows its trainer's published rules; rows that a format cannot represent are counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

import synth_ray
from synth_ray.cli.arguments import FORMATS
from synth_ray.cli.main import main
from synth_ray.dataset import formats
from synth_ray.dataset.distillation_formats import TABLE_FORMATS
from synth_ray.dataset.reward_formats import REWARD_FORMATS
from tests.conftest import TINY_TEACHER

TOOLS = [
    {
        "type": "function",
        "function": {"name": "track", "description": "where", "parameters": {"type": "object", "properties": {}}},
    }
]
CALL = '<tool_call>{"arguments":{"order":"KZ"},"name":"track"}</tool_call>'
DIALOGUE = [
    ("system", "Be brief."),
    ("user", "Where is my parcel?"),
    ("assistant", CALL),
    ("tool", "Oslo"),
    ("assistant", "In Oslo."),
]
LONGER = [
    ("user", "Hello, desk?"),
    ("assistant", "Yes."),
    ("user", "May I send it back?"),
    ("assistant", "You may, for 30 days."),
]


def as_messages(turns: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in turns]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Single questions with a rejected answer, a dialogue with a tool, and a longer one."""
    folder = tmp_path_factory.mktemp("formats")
    words = ["ferry", "lamp", "river", "kettle", "orchard", "violin", "granite", "pepper", "harbour", "needle"]
    rows: list[dict[str, Any]] = [
        {"prompt": f"What is a {word} and who first thought of it?", "answer": f"A {word} is a thing.", "rejected": f"No {word}."}
        for word in words
    ]
    rows += [{"messages": as_messages(DIALOGUE), "tools": TOOLS}, {"messages": as_messages(LONGER)}]
    for name, file_rows in {"plain": rows[:-2], "turns": rows[-2:]}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in file_rows))
    document = {
        "name": "formats",
        "seeds": [str(folder / "plain.jsonl"), str(folder / "turns.jsonl")],
        "recipe": {"name": "build", "keep": ["rejected", "tools"]},
        "models": "none",
        "dedup": {"near": False},
        "split": {"fractions": {"train": 0.7, "test": 0.3}},
        "output": str(folder / "out"),
        "cluster": {"engine": "local"},
    }
    assert synth_ray.run(document).manifest["rows"]["accepted"] == 12
    return folder / "out"


def has_messages(value: Any, roles: set[str]) -> bool:
    return bool(value) and all(m["role"] in roles and isinstance(m["content"], str) for m in value)


CHAT = {"system", "user", "assistant", "tool"}


def is_trl_dpo(row: dict[str, Any]) -> bool:
    return has_messages(row["prompt"], CHAT) and all(has_messages(row[key], {"assistant"}) for key in ("chosen", "rejected"))


def is_openai(row: dict[str, Any]) -> bool:
    """platform.openai.com, fine-tuning: known roles, an assistant last, arguments as text, each result names its call."""
    calls = [c for m in row["messages"] for c in m.get("tool_calls") or []]
    result_ids = [m["tool_call_id"] for m in row["messages"] if m["role"] == "tool"]
    are_arguments_text = all(isinstance(json.loads(c["function"]["arguments"]), dict) for c in calls)
    return (
        has_messages(row["messages"], CHAT)
        and row["messages"][-1]["role"] == "assistant"
        and are_arguments_text
        and result_ids == [c["id"] for c in calls]
    )


def is_openai_dpo(row: dict[str, Any]) -> bool:
    outputs = (row["preferred_output"], row["non_preferred_output"])
    return has_messages(row["input"]["messages"], CHAT) and all(len(o) == 1 and has_messages(o, {"assistant"}) for o in outputs)


def is_llama_factory(row: dict[str, Any]) -> bool:
    """data/README of LLaMA-Factory: human and observation at odd positions, gpt and function_call at even ones."""
    senders = [t["from"] for t in row["conversations"] if t["from"] != "system"]
    is_valid_pair = "chosen" not in row or row["chosen"]["from"] == row["rejected"]["from"] == "gpt"
    return is_valid_pair and all((t in ("human", "observation")) == (i % 2 == 0) for i, t in enumerate(senders))


RULES: dict[str, tuple[Callable[[dict[str, Any]], bool], int]] = {
    "trl-sft": (lambda r: has_messages(r["messages"], CHAT), 12),
    "trl-prompt-completion": (lambda r: has_messages(r["prompt"], CHAT) and has_messages(r["completion"], {"assistant"}), 12),
    "trl-dpo": (is_trl_dpo, 10),
    "alpaca": (lambda r: set(r) == {"instruction", "input", "output"} and all(isinstance(v, str) for v in r.values()), 10),
    "sharegpt": (lambda r: all(set(t) == {"from", "value"} for t in r["conversations"]), 12),
    "openai-sft": (is_openai, 12),
    "openai-dpo": (is_openai_dpo, 10),
    "axolotl": (is_openai, 12),
    "llama-factory": (is_llama_factory, 10),  # ranking format, as the dataset has pairs: rows without a pair are left out
    "ms-swift": (lambda r: has_messages(r["messages"], (CHAT - {"tool"}) | {"tool_call", "tool_response"}), 12),
    "jsonl": (lambda r: {"id", "messages", "origin", "ask_digest"} <= set(r), 12),
    "webdataset": (lambda r: {"id", "messages", "origin", "ask_digest"} <= set(r), 12),
}


def test_every_format_of_the_command_line_exists_and_is_tested() -> None:
    assert [*formats.FORMATS, *TABLE_FORMATS] == FORMATS
    assert [*RULES, *REWARD_FORMATS] == list(formats.FORMATS)  # those for rewards and tables have tests of their own


@pytest.mark.parametrize("name", [name for name in RULES if name != "webdataset"])
def test_an_export_loads_follows_its_trainers_rules_and_counts_omitted_rows(
    dataset: Path, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    is_valid, wanted = RULES[name]
    assert main(["export", str(dataset), "--format", name, "--to", str(tmp_path / "x")]) == 0
    rows = [json.loads(line) for path in (tmp_path / "x").glob("*.jsonl") for line in path.read_text().splitlines()]
    assert len(rows) == wanted
    assert all(is_valid(row) for row in rows)
    if name != "jsonl":
        assert not any({"id", "ask_digest", "lineage", "origin"} & set(row) for row in rows)
    out = capsys.readouterr().out
    assert ("left out" in out) == (wanted < 12)
    files = {p.stem: str(p) for p in (tmp_path / "x").glob("*.jsonl") if p.stat().st_size}
    # Rows may differ in their keys, or a key be null in a whole split: these formats are read one file at a time.
    groups = [{s: p} for s, p in files.items()] if name in ("openai-sft", "openai-dpo", "axolotl", "jsonl") else [files]
    loaded = [datasets.load_dataset("json", data_files=data_files, cache_dir=str(tmp_path / "cache")) for data_files in groups]
    assert sum(len(split) for splits in loaded for split in splits.values()) == wanted


def test_webdataset_shards_have_every_row_once_and_are_reproducible_to_the_byte(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synth_ray.dataset.samples.SHARD_ROWS", 5)
    for folder in ("x", "y"):
        assert main(["export", str(dataset), "--format", "webdataset", "--to", str(tmp_path / folder)]) == 0
    shards = sorted((tmp_path / "x").glob("*.tar"))
    assert len(shards) > 2
    assert [s.read_bytes() for s in shards] == [s.read_bytes() for s in sorted((tmp_path / "y").glob("*.tar"))]
    # A column that is null in a whole shard has no type, so these small shards are read one at a time.
    tables = [datasets.load_dataset("webdataset", data_files=[str(s)], cache_dir=str(tmp_path / s.stem))["train"] for s in shards]
    loaded = [row for table in tables for row in table]
    assert len(loaded) == len({row["__key__"] for row in loaded}) == 12
    assert all(RULES["webdataset"][0](row["json"]) and row["json"]["id"] == row["__key__"] for row in loaded)


def test_a_real_chat_template_renders_the_rows_for_trl(dataset: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    main(["export", str(dataset), "--format", "trl-sft", "--to", str(tmp_path)])
    tokenizer = AutoTokenizer.from_pretrained(TINY_TEACHER)
    rows = [json.loads(line) for path in tmp_path.glob("*.jsonl") for line in path.read_text().splitlines()]
    for row in rows:
        assert row["messages"][-1]["content"] in tokenizer.apply_chat_template(row["messages"], tokenize=False)
    [row_with_tools] = [row for row in rows if json.loads(row["tools"])]
    assert json.loads(row_with_tools["tools"]) == TOOLS
    assert row_with_tools["messages"][2]["content"] == CALL


@pytest.mark.parametrize("name", ["trl-sft", "trl-prompt-completion", "trl-dpo"])
def test_trl_trains_on_its_formats(dataset: Path, name: str, tmp_path: Path) -> None:
    """One step of the trainer itself with the bundled model: it reads, templates, tokenises and masks every row."""
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    main(["export", str(dataset), "--format", name, "--to", str(tmp_path / "x")])
    files = {path.stem: str(path) for path in (tmp_path / "x").glob("*.jsonl") if path.stat().st_size}
    rows = datasets.load_dataset("json", data_files=files, cache_dir=str(tmp_path / "cache"))["train"]
    trainer_class, config = (DPOTrainer, DPOConfig) if name == "trl-dpo" else (SFTTrainer, SFTConfig)
    settings = {"output_dir": str(tmp_path / "trained"), "use_cpu": True, "bf16": False, "report_to": [], "max_length": 256}
    arguments = config(**settings, max_steps=1, per_device_train_batch_size=2, save_strategy="no", gradient_checkpointing=False)
    trainer = trainer_class(model=str(TINY_TEACHER), args=arguments, train_dataset=rows)
    assert len(trainer.train_dataset) == len(rows)
    assert trainer.train().training_loss > 0


def test_the_llama_factory_export_describes_its_files(dataset: Path, tmp_path: Path) -> None:
    main(["export", str(dataset), "--format", "llama-factory", "--to", str(tmp_path)])
    info = json.loads((tmp_path / "dataset_info.json").read_text())
    for entry in info.values():
        assert entry["formatting"] == "sharegpt"
        assert (tmp_path / entry["file_name"]).is_file()


def test_an_export_without_rows_is_an_error_that_gives_the_cause(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one.jsonl").write_text('{"prompt": "Is there a pair here?", "answer": "There is none."}\n')
    document = {"name": "one", "seeds": str(tmp_path / "one.jsonl"), "recipe": "build", "models": "none"}
    document |= {"split": {"fractions": {"train": 1.0}}, "output": str(tmp_path / "out"), "cluster": {"engine": "local"}}
    synth_ray.run(document)
    assert main(["export", str(tmp_path / "out"), "--format", "trl-dpo"]) == 2
    assert "1 with no rejected answer" in capsys.readouterr().err


@pytest.mark.parametrize("body", ["{", "[]", '{"name": "x"}', '{"name": 1, "arguments": {}}'])
def test_a_row_with_an_invalid_tool_call_is_left_out(body: str) -> None:
    row = {"messages": as_messages([("user", "x"), ("assistant", f"<tool_call>{body}</tool_call>")]), "fields": "{}"}
    with pytest.raises(formats.NotRepresentable, match="a malformed tool call"):
        formats.openai_sft(row)
