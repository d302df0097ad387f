"""Each export loads in `datasets` and keeps the published rules of its trainer; what a format cannot hold is counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

import synth_ray
from synth_ray.cli.main import FORMATS, main
from synth_ray.dataset import formats
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


def said(turns: list[tuple[str, str]]) -> list[dict[str, str]]:
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
    rows += [{"messages": said(DIALOGUE), "tools": TOOLS}, {"messages": said(LONGER)}]
    for name, kept in {"plain": rows[:-2], "turns": rows[-2:]}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
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


def messages(value: Any, roles: set[str]) -> bool:
    return bool(value) and all(m["role"] in roles and isinstance(m["content"], str) for m in value)


CHAT = {"system", "user", "assistant", "tool"}


def openai(row: dict[str, Any]) -> bool:
    """platform.openai.com, fine-tuning: known roles, an assistant last, arguments as text, each result names its call."""
    calls = [c for m in row["messages"] for c in m.get("tool_calls") or []]
    answered = [m["tool_call_id"] for m in row["messages"] if m["role"] == "tool"]
    textual = all(isinstance(json.loads(c["function"]["arguments"]), dict) for c in calls)
    return (
        messages(row["messages"], CHAT)
        and row["messages"][-1]["role"] == "assistant"
        and textual
        and answered == [c["id"] for c in calls]
    )


def openai_dpo(row: dict[str, Any]) -> bool:
    outputs = (row["preferred_output"], row["non_preferred_output"])
    return messages(row["input"]["messages"], CHAT) and all(len(o) == 1 and messages(o, {"assistant"}) for o in outputs)


def llama_factory(row: dict[str, Any]) -> bool:
    """data/README of LLaMA-Factory: user and observation at odd places, gpt and function_call at even ones."""
    turns = [t["from"] for t in row["conversations"] if t["from"] != "system"]
    ranked = "chosen" not in row or row["chosen"]["from"] == row["rejected"]["from"] == "gpt"
    return ranked and all((t in ("human", "observation")) == (i % 2 == 0) for i, t in enumerate(turns))


RULES: dict[str, tuple[Callable[[dict[str, Any]], bool], int]] = {
    "trl-sft": (lambda r: messages(r["messages"], CHAT), 12),
    "trl-prompt-completion": (lambda r: messages(r["prompt"], CHAT) and messages(r["completion"], {"assistant"}), 12),
    "trl-dpo": (lambda r: all(messages(r[k], {"assistant"}) for k in ("chosen", "rejected")) and messages(r["prompt"], CHAT), 10),
    "alpaca": (lambda r: set(r) == {"instruction", "input", "output"} and all(isinstance(v, str) for v in r.values()), 10),
    "sharegpt": (lambda r: all(set(t) == {"from", "value"} for t in r["conversations"]), 12),
    "openai-sft": (openai, 12),
    "openai-dpo": (openai_dpo, 10),
    "axolotl": (openai, 12),
    "llama-factory": (llama_factory, 10),  # ranked, as the dataset has pairs: rows without one are left out
    "jsonl": (lambda r: {"id", "messages", "origin", "ask_digest"} <= set(r), 12),
    "webdataset": (lambda r: {"id", "messages", "origin", "ask_digest"} <= set(r), 12),
}


def test_every_format_named_by_the_command_line_is_there_and_tested() -> None:
    assert FORMATS == list(formats.FORMATS) == list(RULES)


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "webdataset"])
def test_an_export_loads_keeps_its_trainers_rules_and_counts_what_it_leaves_out(
    dataset: Path, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    holds, wanted = RULES[name]
    assert main(["export", str(dataset), "--format", name, "--to", str(tmp_path / "x")]) == 0
    rows = [json.loads(line) for path in (tmp_path / "x").glob("*.jsonl") for line in path.read_text().splitlines()]
    assert len(rows) == wanted
    assert all(holds(row) for row in rows)
    if name != "jsonl":
        assert not any({"id", "ask_digest", "lineage", "origin"} & set(row) for row in rows)
    told = capsys.readouterr().out
    assert ("left out" in told) == (wanted < 12)
    files = {p.stem: str(p) for p in (tmp_path / "x").glob("*.jsonl") if p.stat().st_size}
    # Rows that may differ in their keys, or be null throughout a split, are read one file at a time.
    together = [{s: p} for s, p in files.items()] if name in ("openai-sft", "openai-dpo", "axolotl", "jsonl") else [files]
    loaded = [datasets.load_dataset("json", data_files=some, cache_dir=str(tmp_path / "cache")) for some in together]
    assert sum(len(split) for one in loaded for split in one.values()) == wanted


def test_webdataset_shards_hold_every_row_once_in_the_same_bytes(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synth_ray.dataset.samples.SHARD_ROWS", 5)
    for folder in ("x", "y"):
        assert main(["export", str(dataset), "--format", "webdataset", "--to", str(tmp_path / folder)]) == 0
    shards = sorted((tmp_path / "x").glob("*.tar"))
    assert len(shards) > 2
    assert [s.read_bytes() for s in shards] == [s.read_bytes() for s in sorted((tmp_path / "y").glob("*.tar"))]
    # A column that is null throughout a shard has no type of its own: these small ones are read one at a time.
    read = [datasets.load_dataset("webdataset", data_files=[str(s)], cache_dir=str(tmp_path / s.stem))["train"] for s in shards]
    loaded = [one for shard in read for one in shard]
    assert len(loaded) == len({one["__key__"] for one in loaded}) == 12
    assert all(RULES["webdataset"][0](one["json"]) and one["json"]["id"] == one["__key__"] for one in loaded)


def test_a_real_chat_template_renders_what_trl_is_given(dataset: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    main(["export", str(dataset), "--format", "trl-sft", "--to", str(tmp_path)])
    tokenizer = AutoTokenizer.from_pretrained(TINY_TEACHER)
    rows = [json.loads(line) for path in tmp_path.glob("*.jsonl") for line in path.read_text().splitlines()]
    for row in rows:
        assert row["messages"][-1]["content"] in tokenizer.apply_chat_template(row["messages"], tokenize=False)
    [called] = [row for row in rows if json.loads(row["tools"])]
    assert json.loads(called["tools"]) == TOOLS
    assert called["messages"][2]["content"] == CALL


@pytest.mark.parametrize("name", ["trl-sft", "trl-prompt-completion", "trl-dpo"])
def test_trl_trains_on_its_formats_as_they_are(dataset: Path, name: str, tmp_path: Path) -> None:
    """A step of the trainer itself, with the bundled model: it reads, templates, tokenises and masks every row."""
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    main(["export", str(dataset), "--format", name, "--to", str(tmp_path / "x")])
    files = {path.stem: str(path) for path in (tmp_path / "x").glob("*.jsonl") if path.stat().st_size}
    rows = datasets.load_dataset("json", data_files=files, cache_dir=str(tmp_path / "cache"))["train"]
    trainer, config = (DPOTrainer, DPOConfig) if name == "trl-dpo" else (SFTTrainer, SFTConfig)
    how = {"output_dir": str(tmp_path / "trained"), "use_cpu": True, "bf16": False, "report_to": [], "max_length": 256}
    arguments = config(**how, max_steps=1, per_device_train_batch_size=2, save_strategy="no", gradient_checkpointing=False)
    one = trainer(model=str(TINY_TEACHER), args=arguments, train_dataset=rows)
    assert len(one.train_dataset) == len(rows)
    assert one.train().training_loss > 0


def test_llama_factory_is_told_what_its_files_hold(dataset: Path, tmp_path: Path) -> None:
    main(["export", str(dataset), "--format", "llama-factory", "--to", str(tmp_path)])
    told = json.loads((tmp_path / "dataset_info.json").read_text())
    for entry in told.values():
        assert entry["formatting"] == "sharegpt"
        assert (tmp_path / entry["file_name"]).is_file()


def test_a_format_that_holds_no_row_is_an_error_that_says_why(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one.jsonl").write_text('{"prompt": "Is there a pair here?", "answer": "There is none."}\n')
    document = {"name": "one", "seeds": str(tmp_path / "one.jsonl"), "recipe": "build", "models": "none"}
    document |= {"split": {"fractions": {"train": 1.0}}, "output": str(tmp_path / "out"), "cluster": {"engine": "local"}}
    synth_ray.run(document)
    assert main(["export", str(tmp_path / "out"), "--format", "trl-dpo"]) == 2
    assert "1 with no rejected answer" in capsys.readouterr().err


@pytest.mark.parametrize("body", ["{", "[]", '{"name": "x"}', '{"name": 1, "arguments": {}}'])
def test_a_tool_call_that_is_none_leaves_its_row_out(body: str) -> None:
    row = {"messages": said([("user", "x"), ("assistant", f"<tool_call>{body}</tool_call>")]), "fields": "{}"}
    with pytest.raises(formats.NotRepresentable, match="a tool call that is none"):
        formats.openai_sft(row)
