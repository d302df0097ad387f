"""`spring`: instructions that the model writes itself, without seeds."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import trl
from transformers import AutoTokenizer

import synth_ray
from synth_ray.ask.teacher import Prompt
from synth_ray.ask.vllm.chat_template import renderer_of
from synth_ray.ask.vllm.teacher import VllmTeacher
from synth_ray.ask.vllm.template_thinking import Render
from synth_ray.ask.vllm.user_turn import refuse_without_user_turn, stop_of, user_turn
from synth_ray.errors import JobError
from synth_ray.job.load import job_from
from synth_ray.job.models import Model
from synth_ray.job.problems import BadJob
from synth_ray.recipes.contract import Completion
from synth_ray.records import Reason
from synth_ray.route.preflight import preflight
from tests.conftest import TINY_TEACHER
from tests.unit.recipes.fake_teacher import replying, run_recipe

MODEL = Model(model="some/model")
TEMPLATES = Path(trl.__file__).parent / "chat_templates"


def rendered_by(template: str) -> Render:
    tokenizer = AutoTokenizer.from_pretrained(TINY_TEACHER)
    tokenizer.chat_template = template
    return renderer_of(tokenizer)


@pytest.mark.parametrize(
    ("name", "opening", "closing"),
    [
        ("qwen3", "<|im_start|>user\n", "<|im_end|>\n"),
        ("qwen2_5", "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
         "<|im_start|>user\n", "<|im_end|>\n"),
        ("deepseek_r1_distill", "<｜User｜>", ""),
    ],
)  # fmt: skip
def test_the_opening_of_a_users_turn_is_found_in_real_templates(name: str, opening: str, closing: str) -> None:
    turn = user_turn(rendered_by((TEMPLATES / f"{name}.jinja").read_text()), MODEL, [])
    assert (turn.opening.endswith(opening), turn.closing) == (True, closing)


def test_a_system_message_stands_before_the_turn() -> None:
    turn = user_turn(rendered_by((TEMPLATES / "qwen3.jinja").read_text()), MODEL, [{"role": "system", "content": "Be a nurse."}])
    assert turn.opening == "<|im_start|>system\nBe a nurse.<|im_end|>\n<|im_start|>user\n"


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{{ m.content }}{% endfor %}",  # nothing opens the turn
        "{% for m in messages %}<u>{{ m.content | upper }}</u>{% endfor %}",  # the message is not as it was
        "{% for m in messages %}<u {{ m.content }}>{{ m.content }}</u>{% endfor %}",  # it is there twice
        "{{ raise_exception('no') }}",
    ],
)
def test_a_template_under_which_the_model_cannot_write_the_turn_is_refused(template: str) -> None:
    with pytest.raises(JobError, match=r"models\.teacher: wanted a chat template that opens a user's turn"):
        refuse_without_user_turn(rendered_by(template), MODEL, where="models.teacher")


def test_the_message_ends_at_the_templates_own_token_or_text() -> None:
    tokenizer = AutoTokenizer.from_pretrained(TINY_TEACHER)
    assert stop_of(tokenizer, "<|end|>\n") == {"stop_token_ids": [tokenizer.convert_tokens_to_ids("<|end|>")]}
    assert stop_of(tokenizer, " [/INST]") == {"stop": ["[/INST]"]}
    assert stop_of(tokenizer, "\n") == {}


@pytest.mark.parametrize(
    ("written", "reason"), [("  ", Reason.NO_ANSWER), ("Answer these:", Reason.TRUNCATED), ("How are you?", None)]
)
def test_an_instruction_that_is_none_is_not_answered(written: str, reason: Reason | None) -> None:
    teacher = replying(lambda prompt, _n: written if prompt.kind == "instruct" else "Fine.")
    [draft] = run_recipe(
        {"name": "spring", "topic": "Be {{ attributes.tone }}.", "attributes": {"tone": ["kind"]}}, teacher
    ).drafts
    asked: list[Prompt] = teacher.asked
    assert asked[0].messages == [{"role": "system", "content": "Be kind."}]
    assert draft.reason is reason
    assert len(asked) == (2 if reason is None else 1)
    if reason is None:
        assert (draft.prompt, draft.completion) == ([{"role": "user", "content": "How are you?"}], "Fine.")


def job_of(folder: Path, **changes: Any) -> dict[str, Any]:
    document = {
        "name": "spring",
        "seeds": "none",
        "recipe": "spring",
        "models": {"teacher": {"engine": "scripted"}},
        "plan": {"requests": 60, "chunk_requests": 16},
        "split": {"fractions": {"train": 1.0}},
        "output": str(folder / "out"),
        "cluster": {"engine": "local"},
    }
    return document | changes


def test_a_job_without_seeds_makes_as_many_rows_as_it_plans(tmp_path: Path) -> None:
    manifest = synth_ray.run(job_of(tmp_path)).manifest
    assert (manifest["rows"]["requested"], manifest["rows"]["accepted"]) == (60, 60)
    again = synth_ray.run(job_of(tmp_path / "again")).manifest
    assert again["dataset_digest"] == manifest["dataset_digest"]
    card = (tmp_path / "out" / "README.md").read_text()
    assert "Diversity was compared with the seeds" not in card


def test_a_target_without_seeds_is_met(tmp_path: Path) -> None:
    job = job_of(tmp_path, plan={"chunk_requests": 16}, target={"accepted": 40, "lag": 64})
    assert synth_ray.run(job).manifest["rows"]["accepted"] == 40


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"recipe": "distill"}, "seeds: wanted seeds for recipe 'distill', got none"),
        ({"plan": {}}, "plan.requests: wanted how many requests to make without seeds"),
        (
            {"models": {"teacher": {"engine": "endpoint", "model": "m", "endpoint": {"urls": "http://127.0.0.1:1/v1"}}}},
            "models.teacher.engine: wanted vllm for recipe 'spring'",
        ),
        (
            {"models": {"teacher": {"model": "m", "chat": False}}},
            "models.teacher.chat: wanted a chat template for recipe 'spring'",
        ),
    ],
)
def test_jobs_that_cannot_do_without_are_refused(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadJob) as refused:
        preflight(job_from(job_of(tmp_path, **changes)))
    assert problem in str(refused.value), json.dumps(str(refused.value))


@pytest.mark.vllm
def test_a_real_engine_writes_users_turns_that_end_by_themselves(vllm_teacher: VllmTeacher) -> None:
    """The tiny teacher has learnt what customers write, and ends a turn as its template does. One in a hundred is longer than
    the limit, and any two may be the same: what is sampled is not bound to be whole, nor to be new.
    """
    sampling = {"temperature": 0.8, "max_tokens": 160}
    prompts = [Prompt([], f"{number:08x}", kind="instruct", sampling=sampling) for number in range(32)]

    async def every() -> list[list[Completion]]:
        return await asyncio.gather(*[vllm_teacher.answer(prompt) for prompt in prompts])

    written = [answers[0] for answers in asyncio.run(every())]
    whole = [answer.text for answer in written if answer.is_whole and answer.text.strip()]
    assert len(whole) >= 24
    assert len(set(whole)) >= 16
    assert not any("<|" in answer.text for answer in written)
