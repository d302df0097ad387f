"""Whole runs against servers that misbehave: the funnel adds up, no error escapes, and the exit code is the documented one."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import synth_ray
from synth_ray.cli.machine import MachineKind
from synth_ray.cli.starters import SEEDS_OF, starter
from synth_ray.records import FAILED, Reason, digest
from tests.endpoint_server import MODEL, Reply, behaving_server

SEEDS = 24

Behave = Callable[[dict[str, Any], int], Reply]


def answered(body: dict[str, Any], **choice: Any) -> Reply:
    """An answer that differs for every prompt; `choice` are fields of its choice."""
    name = digest(body["messages"])
    message = {"content": "Answer " + " ".join(name[place : place + 4] for place in range(0, 28, 4))}
    return 200, {"choices": [{"finish_reason": "stop", "message": message} | choice]}


def every_third(odd: Behave) -> Behave:
    """The odd reply for a third of the prompts, an answer for the others."""

    def behave(body: dict[str, Any], times: int) -> Reply:
        number = int(body["messages"][-1]["content"].split()[1])
        return odd(body, times) if number % 3 == 0 else answered(body)

    return behave


def error(status: int, **fields: Any) -> Behave:
    return lambda _body, _times: (status, {"error": fields})


CONTRACT: dict[str, tuple[Behave, dict[str, int], int]] = {
    "tokens are not told": (lambda body, _: answered(body), {}, 0),
    "a filter cuts": (every_third(lambda body, _: answered(body, finish_reason="content_filter")), {"truncated": 8}, 0),
    "moderated": (every_third(error(400, code="content_filter")), {"moderated": 8}, 0),
    "a model refuses": (
        every_third(lambda body, _: answered(body, message={"content": None, "refusal": "No."})),
        {"refusal": 8},
        0,
    ),
    "no content": (every_third(lambda body, _: answered(body, finish_reason="length", message={})), {"empty_completion": 8}, 0),
    "not text": (every_third(lambda body, _: answered(body, message={"content": {"type": "audio"}})), {"engine_error": 8}, 0),
    "no money": (error(402), {}, 4),
    "no quota": (error(429, code="insufficient_quota"), {}, 4),
    "no key": (error(401), {}, 4),
    "not allowed": (error(403), {}, 4),
    "no such model": (error(404, code="model_not_found"), {}, 4),
}


@pytest.mark.parametrize("name", CONTRACT)
def test_every_behaviour_ends_in_a_funnel_that_adds_up(name: str, tmp_path: Path) -> None:
    behave, reasons, exit_code = CONTRACT[name]
    seeds = tmp_path / "seeds.jsonl"
    seeds.write_text("".join(json.dumps({"prompt": f"Question {n} of {'many ' * (n + 3)}"}) + "\n" for n in range(SEEDS)))
    with behaving_server(behave) as (url, _):
        run = synth_ray.run(_job(url, seeds, tmp_path / "out"))
    rows = run.manifest["rows"]
    assert rows["accepted"] + sum(rows["rejected"].values()) + sum(rows["failed"].values()) == rows["requested"]
    assert rows["requested"] == (0 if exit_code else SEEDS)
    assert rows["rejected"] | rows["failed"] == reasons
    assert bool(run.stopped) == (exit_code == 4)
    assert "Traceback" not in run.stopped


def _job(url: str, seeds: Path, output: Path) -> dict[str, Any]:
    teacher = {"engine": "endpoint", "model": MODEL, "endpoint": {"urls": url, "retries": 0}}
    return {
        "name": "behaviours",
        "seeds": str(seeds),
        "recipe": "distill",
        "models": {"teacher": teacher},
        "split": {"fractions": {"train": 1.0}},
        "output": str(output),
        "cluster": {"engine": "local"},
    }


ODD: list[Behave] = [
    lambda body, _: answered(body),
    lambda body, _: answered(body, finish_reason="length", message={"content": "cut of"}),
    lambda body, _: answered(body, finish_reason="content_filter", message={"content": "cut of"}),
    lambda body, _: answered(body, finish_reason="tool_calls", message={"tool_calls": [{"function": {"name": "f"}}]}),
    lambda body, _: answered(body, finish_reason="sleepy"),
    lambda body, _: answered(
        body, message={"content": [{"type": "text", "text": "A part."}, {"type": "thinking", "thinking": []}]}
    ),
    lambda body, _: answered(body, message={"content": '{"a": [1, {"b": null}]}'}),
    lambda body, _: answered(body, message={"content": "\ud800 <think> 1/0 = 7 #### \u0000"}),
    lambda body, _: answered(body, message={"content": 12}),
    lambda body, _: answered(body, message=None),
    lambda body, _: (200, {"choices": [answered(body)[1]["choices"][0]], "usage": {"completion_tokens": "n/a"}}),
    error(400, code="content_filter"),
    error(400, message="This model's maximum context length is 8 tokens"),
    error(500),
]


@pytest.mark.parametrize("recipe", sorted(SEEDS_OF.keys() - {"build"}))
@pytest.mark.parametrize("share_of_good", [0.7, 0.0])
def test_whatever_a_server_replies_every_recipe_ends_in_a_funnel_that_adds_up(
    recipe: str, share_of_good: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replies of every kind, mixed by the prompt: a row ends with a reason, never a run with an error."""

    def behave(body: dict[str, Any], times: int) -> Reply:
        draw = random.Random(digest(body["messages"], body.get("seed")))
        return answered(body) if draw.random() < share_of_good else draw.choice(ODD)(body, times)

    monkeypatch.chdir(tmp_path)
    for name, text in starter(recipe, MachineKind.ENDPOINT, teacher=tmp_path).items():
        (tmp_path / name).write_text(text)
    document = yaml.safe_load((tmp_path / "job.yaml").read_text())
    with behaving_server(behave) as (url, _):
        served = {"engine": "endpoint", "model": MODEL, "endpoint": {"urls": url, "retries": 0, "flavour": "vllm"}}
        roles = dict.fromkeys(document["models"], served)
        run = synth_ray.run({**document, "models": {**roles, "allow_related_judge": True}, "limits": {"max_failed_share": 1.0}})
    rows = run.manifest["rows"]
    assert rows["accepted"] + sum(rows["rejected"].values()) + sum(rows["failed"].values()) == rows["requested"] > 0
    assert {Reason(reason) in FAILED for reason in rows["failed"]} <= {True}
    nothing_answered = sum(rows["failed"].values()) == rows["requested"]
    expected = 4 if run.stopped else 1 if nothing_answered else 3 if not rows["accepted"] else 0
    assert (run.exit_code, run.stopped.split(":")[0]) == (expected, "target" if run.stopped else "")
