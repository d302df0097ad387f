"""A real engine whose model thinks: on, off, limited, cut, and in front of guided answers, in roles that share it.

The model is the tiny teacher with `<think>` and `</think>` among its tokens, in a template that opens the thought: it has never
learned to think, so that only what the engine is told makes it begin and end a thought.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from synth_ray.ask.engines import RoleTeacher, make_teacher
from synth_ray.ask.teacher import Prompt, Teacher
from synth_ray.job.bundled import bundled_thinker_path
from synth_ray.job.models import Model
from synth_ray.job.reasoning import THINK
from synth_ray.recipes.contract import Completion, Constraint, user
from synth_ray.records import Message, digest
from tests.conftest import ENGINE_ARGS, TINY_TEACHER
from tests.unit.ask.test_teachers import ask

pytestmark = pytest.mark.vllm

BUDGET = 6
THOUGHT = BUDGET
"""Tokens of a thought of that budget: the line break behind the prompt's mark is one of it, and the closing mark is not."""
TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>\n"
    "{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% if enable_thinking is not defined or enable_thinking is true %}<think>\n"
    "{% elif not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
ROLES: dict[str, dict[str, Any]] = {
    "limited": {"reasoning": {"think": True, "budget": BUDGET}},
    "free": {"reasoning": True},
    "off": {"reasoning": False},
    "unmarked": {"chat_template_kwargs": {"enable_thinking": "neither opened nor closed"}},
}
SCHEMA = {"type": "object", "properties": {"late": {"type": "boolean"}}, "required": ["late"], "additionalProperties": False}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Teacher]:
    """The engine, opened once for all roles."""
    import shutil

    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("thinker") / "model"
    shutil.copytree(TINY_TEACHER, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(list(THINK))  # the model has room for more tokens than it uses
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    models = {
        role: Model.model_validate({"model": str(folder), "engine_args": ENGINE_ARGS, **keys}) for role, keys in ROLES.items()
    }
    assert len({model.engine_key for model in models.values()}) == 1
    first, *others = models
    teacher = make_teacher(models[first], role=first, others={role: models[role] for role in others})
    facts = teacher.open()
    assert facts.engine_args["reasoning_parser"] == "qwen3"
    assert [note for note in facts.notes if "unmarked" not in note] == []
    yield teacher
    teacher.close()


def asked(engine: Teacher, role: str, text: str = "Is it late?", **prompt: Any) -> list[Completion]:
    sampling = {"temperature": 0.0, "max_tokens": 20} | prompt.pop("sampling", {})
    messages = prompt.pop("messages", [user(text)])
    [answers] = ask(RoleTeacher(engine, role), Prompt(messages, digest(role, text), sampling=sampling, **prompt))
    return answers


def test_one_engine_thinks_in_one_role_and_not_in_another(engine: Teacher) -> None:
    [thought] = asked(engine, "limited")
    assert thought.reasoning and thought.text and thought.completion_tokens
    assert not any(mark in thought.text + thought.reasoning for mark in THINK)
    [plain] = asked(engine, "off")
    assert (plain.reasoning, plain.reasoning_tokens) == ("", 0) and plain.text


def test_a_budget_ends_the_thought_at_its_token_and_leaves_the_answer_its_own(engine: Teacher) -> None:
    answers = asked(engine, "limited", n=3, sampling={"temperature": 1.0, "max_tokens": 12, "ignore_eos": True})
    assert [answer.reasoning_tokens for answer in answers] == [THOUGHT] * 3
    assert all((answer.completion_tokens or 0) >= THOUGHT + 12 for answer in answers)


@pytest.mark.parametrize("sampling", [{}, {"logprobs": 0}, {"stop": ["never said"]}])
def test_a_thought_that_is_cut_off_is_no_answer(engine: Teacher, sampling: dict[str, Any]) -> None:
    [cut] = asked(engine, "free", sampling={"max_tokens": 5, "ignore_eos": True, **sampling})
    assert cut.is_cut_in_thought and (cut.finish_reason, cut.reasoning_tokens, cut.completion_tokens) == ("length", 5, 5)


@pytest.mark.parametrize(("role", "thinks"), [("limited", True), ("off", False), ("unmarked", False)])
def test_a_guide_binds_behind_the_thought_and_at_once_where_there_is_none(engine: Teacher, role: str, thinks: bool) -> None:
    [fits] = asked(engine, role, constraint=Constraint(json_schema=SCHEMA))
    assert set(json.loads(fits.text)) == {"late"} and fits.finish_reason == "stop"
    [chosen] = asked(engine, role, constraint=Constraint(choices=("early", "late")))
    assert chosen.text in ("early", "late")
    assert bool(fits.reasoning) == bool(chosen.reasoning) == thinks


def test_an_earlier_thought_in_the_prompt_does_not_count_as_the_answers_own(engine: Teacher) -> None:
    before: list[Message] = [user("Hello"), {"role": "assistant", "content": "Good day.", "reasoning": "They greet."}]
    [fits] = asked(engine, "limited", messages=[*before, user("Is it late?")], constraint=Constraint(choices=("early", "late")))
    assert fits.text in ("early", "late") and fits.reasoning_tokens == THOUGHT


def test_log_probabilities_stay_those_of_all_tokens_with_the_answers_behind_the_thoughts(engine: Teacher) -> None:
    [answer] = asked(engine, "limited", sampling={"logprobs": 1})
    assert answer.logprobs is not None and answer.reasoning_tokens is not None
    assert len(answer.logprobs) == answer.completion_tokens
    tokens = [entry["token"] for entry in answer.logprobs]
    assert tokens[answer.reasoning_tokens - 1] == THINK[1]
    assert "".join(tokens[answer.reasoning_tokens :]).replace("<|end|>", "").strip() == answer.text
    assert asked(engine, "limited")[0].text == answer.text


def test_the_engine_starts_with_the_parser_that_the_folder_tells(engine: Teacher) -> None:
    assert Path(str(engine._model.model)).is_dir()  # type: ignore[attr-defined]
    assert "reasoning_parser" not in engine._model.engine_args  # type: ignore[attr-defined]


# A model that has learned to think, and begins its thought itself.


@pytest.fixture(scope="module")
def thinker() -> Iterator[Teacher]:
    keys = {"model": str(bundled_thinker_path()), "engine_args": ENGINE_ARGS}
    models = {role: Model.model_validate(keys | ROLES[role]) for role in ("limited", "free", "off")}
    first = models.pop("limited")
    teacher = make_teacher(first, role="limited", others=models)
    teacher.open()
    yield teacher
    teacher.close()


def test_a_model_that_thinks_by_itself_is_taken_apart_limited_and_switched_off(thinker: Teacher) -> None:
    question = "A box holds 12 pens. How many pens are in 3 boxes?"
    [free] = asked(thinker, "free", question, sampling={"max_tokens": 300})
    assert free.reasoning and free.text and not any(mark in free.text + free.reasoning for mark in THINK)
    [limited] = asked(thinker, "limited", question, sampling={"max_tokens": 60})
    assert free.reasoning.startswith(limited.reasoning) and limited.text
    assert limited.reasoning_tokens == BUDGET + 2  # both marks are the model's own
    [off] = asked(thinker, "off", question, sampling={"max_tokens": 60})
    assert (off.reasoning, off.reasoning_tokens) == ("", 0) and off.text
    [cut] = asked(thinker, "free", question, sampling={"max_tokens": 4})
    assert cut.is_cut_in_thought and cut.finish_reason == "length"
    [fits] = asked(thinker, "limited", question, constraint=Constraint(json_schema=SCHEMA), sampling={"max_tokens": 60})
    assert fits.reasoning and set(json.loads(fits.text)) == {"late"}
