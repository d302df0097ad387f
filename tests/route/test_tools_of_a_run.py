"""A whole run with tools: what they did is in the rows, is scrubbed, and reaches trainers in their own forms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import trl
import yaml

import synth_ray
from synth_ray.cli.main import main
from synth_ray.job.bundled import bundled_teacher_path
from tests.house.test_house import ROOT

DESK = "tests.unit.toolbox.desk:"
ANSWER = """\
{%- set done = messages | selectattr('role', 'equalto', 'tool') | list | length -%}
{%- set order = messages[0].content[-4:] -%}
{%- if done == 0 -%}
Let me see.
<tool_call>{"name": "look_up", "arguments": {"order": {{ order | tojson }}}}</tool_call>
<tool_call>{"name": "refund", "arguments": {"order": {{ order | tojson }}, "cents": 9000}}</tool_call>
{%- elif done == 2 -%}
<tool_call>{"name": "refund", "arguments": {"order": {{ order | tojson }}, "cents": {{ order[-1] | int + 1 }}}}</tool_call>
{%- else -%}
Your order number {{ order }} is refunded now; {{ words }}.
{%- endif -%}
"""
ROWS = 6


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tools")
    seeds = []
    for n in range(ROWS):
        orders = {f"KZ-{n}": {"paid": 500, "mail": f"anna.kroll{n}@fabrikam-mail.com"}}
        seeds.append({"prompt": f"please refund my order KZ-{n}", "orders": orders, "wanted": n + 1 if n else 7})
    (folder / "seeds.jsonl").write_text("".join(json.dumps(seed) + "\n" for seed in seeds))
    recipe = {
        "name": "converse",
        "turns": 1,
        "call": "native",
        "state": '{"orders": {{ orders | tojson }}}',
        "tools": [{"function": DESK + "look_up"}, {"function": DESK + "refund"}],
        "end_state": DESK + "refunded_first",
    }
    document = {
        "name": "tools",
        "seeds": str(folder / "seeds.jsonl"),
        "recipe": recipe,
        "models": {"teacher": {"engine": "scripted", "script": {"answers": [ANSWER], "words": 12}}},
        "dedup": {"near": False},
        "split": {"fractions": {"train": 1.0}},
        "output": {"path": str(folder / "out"), "license": "apache-2.0"},
        "cluster": {"engine": "local"},
    }
    result = synth_ray.run(document)
    assert result.manifest["rows"]["accepted"] == ROWS - 1, result.manifest["rows"]
    return folder / "out"


def test_rows_carry_calls_results_and_the_state_at_the_end_scrubbed(out: Path) -> None:
    rows = [row for path in sorted((out / "data").rglob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    assert len(rows) == ROWS - 1
    for row in rows:
        assert [m["role"] for m in row["messages"]] == ["user", "assistant", "tool", "tool", "assistant", "tool", "assistant"]
        assert row["messages"][3]["content"].startswith("ValueError: order KZ-")
        assert (row["reward"], row["steps"]) == (1.0, 3)
        assert [tool["function"]["name"] for tool in json.loads(row["tools"])] == ["look_up", "refund"]
        [order] = json.loads(row["end_state"])["orders"].values()
        assert order["refunded"] == int(row["messages"][0]["content"][-1]) + 1
        assert "fabrikam" not in json.dumps(row)
        assert "mail" in row["messages"][2]["content"]


def exported(out: Path, name: str, folder: Path) -> list[dict[str, Any]]:
    assert main(["export", str(out), "--format", name, "--to", str(folder / "x")]) == 0
    return [json.loads(line) for path in sorted(folder.rglob("*.jsonl")) for line in path.read_text().splitlines()]


def test_openais_form_pairs_calls_of_one_turn_with_their_results(out: Path, tmp_path: Path) -> None:
    rows = exported(out, "openai-sft", tmp_path)
    assert len(rows) == ROWS - 1
    for row in rows:
        calls = [call for m in row["messages"] for call in m.get("tool_calls") or []]
        results = [m["tool_call_id"] for m in row["messages"] if m["role"] == "tool"]
        assert results == [call["id"] for call in calls]
        assert len(set(results)) == 3
        assert all(isinstance(json.loads(call["function"]["arguments"]), dict) for call in calls)
        assert [tool["function"]["name"] for tool in row["tools"]] == ["look_up", "refund"]
        assert row["messages"][1]["content"] == "Let me see."


def test_trls_form_renders_with_the_template_of_a_student_that_calls_tools(out: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(bundled_teacher_path())
    tokenizer.chat_template = (Path(trl.__file__).parent / "chat_templates" / "qwen3.jinja").read_text()
    rows = exported(out, "trl-sft", tmp_path)
    assert len(rows) == ROWS - 1
    for row in rows:
        tools = json.loads(row["tools"]) if isinstance(row["tools"], str) else row["tools"]
        text = tokenizer.apply_chat_template(row["messages"], tools=tools, tokenize=False)
        assert text.count('"arguments"') - text.partition("# Tools")[2].partition("<|im_end|>")[0].count('"arguments"') == 3
        assert text.count("<tool_response>") == 3
        assert text.index('"name":"look_up"') < text.index("ValueError: order KZ-") < text.index("is refunded now")


def test_the_job_to_copy_runs_with_its_tools_and_keeps_what_its_customers_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "jobs" / "tools"))
    monkeypatch.chdir(ROOT)
    document = yaml.safe_load((ROOT / "jobs" / "tools.yaml").read_text())
    look = """\
{%- if messages[-1].role == 'tool' -%} I looked it up for you just now: {{ words }}.
{%- else -%}
<tool_call>{"name": "look_up_order", "arguments": {"order": "KZ-{{ (prompt ~ ' ').split('KZ-')[1][:5] }}"}}</tool_call>
{%- endif -%}"""
    document["models"] = {"teacher": {"engine": "scripted", "script": {"answers": [look], "words": 8}}}
    document["output"]["path"] = str(tmp_path / "out")
    manifest = synth_ray.run(document).manifest
    assert manifest["rows"]["accepted"] == 3  # those who only asked
    assert manifest["rows"]["rejected"] == {"wrong_end_state": 5}
