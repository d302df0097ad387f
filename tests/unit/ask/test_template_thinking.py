"""How real chat templates are told to think: those of published models, as TRL ships them."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from synth_ray.ask.asker import thinking_judge
from synth_ray.ask.teacher import Prompt
from synth_ray.ask.vllm.chat_template import local_renderer, renderer_of
from synth_ray.ask.vllm.parser_choice import engine_parser, known_parsers, refuse_bad_reasoning
from synth_ray.ask.vllm.role_thinking import RoleThinking
from synth_ray.ask.vllm.scoring import given_answer
from synth_ray.ask.vllm.template_thinking import TemplateThinking, closes_thought, opens_thought, template_thinking
from synth_ray.errors import JobError
from synth_ray.job.load import job_from
from synth_ray.job.models import Model
from synth_ray.job.reasoning import HARMONY
from synth_ray.recipes.contract import Completion
from synth_ray.records import Message
from synth_ray.route.preflight import preflight
from tests.conftest import ENGINE_ARGS
from tests.unit.ask.test_chat_template import OPENS, THINKS, TURNS, job, model_with

TEMPLATES = Path(str(find_spec("trl").origin)).parent / "chat_templates"  # type: ignore[union-attr]

ASKED: list[Message] = [{"role": "user", "content": "Is it late?"}]
TALK: list[Message] = [*ASKED, {"role": "assistant", "content": "It is.", "reasoning": "They ask for 17."}]


def found(folder: Path, template: str, **keys: Any) -> tuple[TemplateThinking, str]:
    """What is found out about a template, and the prompt it makes of one question."""
    source = (TEMPLATES / f"{template}.jinja").read_text() if template.isidentifier() else template
    model = model_with(folder, source, **keys)
    render = local_renderer(model)
    assert render is not None
    thinking = template_thinking(render, model, where="models.teacher")
    return thinking, render(thinking.messages(ASKED), thinking.variables)


def state(prompt: str) -> str:
    return "open" if opens_thought(prompt, "<think>") else "closed" if closes_thought(prompt, "</think>") else "plain"


@pytest.mark.parametrize(
    ("template", "by_itself", "on", "off", "key"),
    [
        ("qwen3", "plain, thinks", "plain, thinks", "closed, not", "reasoning_content"),
        ("qwen3_5_think", "open, thinks", "open, thinks", "closed, not", "reasoning_content"),
        ("qwen3_8", "open, thinks", "open, thinks", "closed, not", "reasoning_content"),
        ("glm4moe", "plain, thinks", "plain, thinks", "closed, not", "reasoning_content"),
        ("nemotron_3_nano", "open, thinks", "open, thinks", "closed, not", "reasoning_content"),
        ("gemma4_v5", "plain, not", "plain, thinks", "plain, not", "reasoning_content"),
        ("deepseek_r1_distill", "open, thinks", "open, thinks", "refused", ""),
        ("qwen3_instruct_2507", "plain, not", "refused", "refused", ""),
        ("qwen2_5", "plain, not", "refused", "refused", ""),
    ],
)
def test_the_switch_of_a_template_is_what_changes_its_prompt(
    template: str, by_itself: str, on: str, off: str, key: str, tmp_path: Path
) -> None:
    for name, keys, wanted in (("a", {}, by_itself), ("b", {"reasoning": True}, on), ("c", {"reasoning": False}, off)):
        (tmp_path / name).mkdir()
        if wanted == "refused":
            with pytest.raises(JobError, match=r"^models\.teacher\.reasoning\.think: wanted a chat template with a switch"):
                found(tmp_path / name, template, **keys)
            continue
        thinking, prompt = found(tmp_path / name, template, **keys)
        assert f"{state(prompt)}, {'thinks' if thinking.expects else 'not'}" == wanted
        assert thinking.earlier_key == key


def test_gpt_oss_takes_an_effort_and_reads_thoughts_under_its_own_key_without_nulls(tmp_path: Path) -> None:
    keys = {"reasoning": {"parser": HARMONY, "effort": "high"}}
    thinking, prompt = found(tmp_path, "gptoss", **keys)
    assert "Reasoning: high" in prompt
    assert (thinking.parser, thinking.expects, thinking.earlier_key) == (HARMONY, True, "thinking")
    assert thinking.messages([*TALK, {"role": "assistant", "content": "x", "reasoning": ""}])[1:] == [
        {"role": "assistant", "content": "It is.", "thinking": "They ask for 17."},
        {"role": "assistant", "content": "x"},
    ]


def test_an_effort_that_a_template_does_not_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"^models\.teacher\.reasoning\.effort: wanted a chat template that reads"):
        found(tmp_path, "qwen3", reasoning={"effort": "high"})


@pytest.mark.parametrize(("template", "parser"), [(THINKS, "qwen3"), (OPENS, "deepseek_r1"), (TURNS, "")])
def test_a_folders_template_tells_its_parser_and_only_marks_that_are_tokens_reach_the_engine(
    template: str, parser: str, tmp_path: Path
) -> None:
    model = model_with(tmp_path, template)
    render = local_renderer(model)
    assert render is not None
    assert template_thinking(render, model, where="models.teacher").parser == parser
    assert engine_parser(model, render) == ""  # the tiny teacher has no such tokens
    (Path(model.model) / "tokenizer.json").unlink()
    assert engine_parser(model, render) == parser


@pytest.mark.parametrize(
    ("reasoning", "more", "message"),
    [
        ({"parser": "qwen_3"}, {}, r"reasoning\.parser: wanted a reasoning parser .*, got 'qwen_3'; did you mean 'qwen3'"),
        ({"think": True}, {"chat": False}, r"reasoning: wanted a chat template to set think or effort, got chat: false"),
        ({"budget": 9}, {}, r"reasoning\.budget: wanted a model whose thoughts end in a mark .* got no known parser"),
        ({"budget": 9, "parser": HARMONY}, {}, r"reasoning\.budget: .* got parser openai_gptoss, whose thoughts end in none"),
    ],
)  # fmt: skip
def test_thoughts_that_the_engine_cannot_follow_are_refused_before_it_starts(
    reasoning: dict[str, Any], more: dict[str, Any], message: str
) -> None:
    model = Model.model_validate({"model": "models/any", "reasoning": reasoning, **more})
    with pytest.raises(JobError, match=rf"^models\.teacher\.{message}"):
        refuse_bad_reasoning(model, None, where="models.teacher")
    assert "deepseek_r1" in known_parsers()


def test_check_says_what_a_template_does_not_know_and_is_silent_where_the_job_says_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    fields = job(tmp_path, model_with(tmp_path, THINKS))
    preflight(job_from(fields))
    assert "thinks before it answers, and the job does not say whether it should" in caplog.text
    caplog.clear()
    fields["models"]["teacher"]["reasoning"] = False
    preflight(job_from(fields))
    assert "thinks" not in caplog.text
    fields["models"]["teacher"]["reasoning"] = {"effort": "low"}
    with pytest.raises(JobError, match=r"models\.teacher\.reasoning\.effort"):
        preflight(job_from(fields))


def test_two_ways_to_set_the_switch_are_refused() -> None:
    with pytest.raises(ValueError, match=r"wanted reasoning\.think or chat_template_kwargs\.enable_thinking, got both"):
        Model.model_validate({"model": "m", "reasoning": True, "chat_template_kwargs": {"enable_thinking": True}})


def test_roles_that_only_think_differently_share_an_engine() -> None:
    thinks, plain, other = (
        Model.model_validate({"model": "Qwen/Qwen3-8B", "reasoning": reasoning})
        for reasoning in ({"think": True, "budget": 9}, None, {"parser": "deepseek_r1"})
    )
    assert thinks.engine_key == plain.engine_key != other.engine_key


@pytest.mark.parametrize(("think", "ending"), [(False, "<think>\n\n</think>\n\nIt is."), (None, "assistant\nIt is.")])
def test_a_given_answer_is_scored_behind_the_prompt_that_the_role_answers_to(
    think: bool | None, ending: str, tmp_path: Path
) -> None:
    """Of a template that writes what its switch says into every turn of the assistant, and reads earlier thoughts."""
    closed = "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
    turns = (
        "{% for m in messages %}<|{{ m.role }}|>\n{{ m.reasoning_content or '' }}{% if m.role == 'assistant' %}"
        + closed
        + "{% endif %}{{ m.content }}{% endfor %}{% if add_generation_prompt %}<|assistant|>\n"
        + closed
        + "{% endif %}"
    )
    model = model_with(tmp_path, turns, **({} if think is None else {"reasoning": think}))
    tokenizer = AutoTokenizer.from_pretrained(model.model)
    template = template_thinking(renderer_of(tokenizer), model, where="models.judge")
    tokens, start = given_answer(tokenizer, Prompt([*TALK, *ASKED], "k", kind="score", given="It is."), model, template)
    text = tokenizer.decode(tokens)
    assert tokenizer.decode(tokens[start:]) == "It is."
    assert ending.replace("assistant", "<|assistant|>") in text and "They ask for 17." in text
    assert ("</think>" in text) == (think is False)


def test_a_judge_whose_template_alone_tells_that_it_thinks_has_room_for_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No name says so: the engine that guides its verdicts behind the thought is started with the template's parser."""
    for name, template, keys, room in (("a", "qwen3", {}, 1), ("b", "qwen3", {"reasoning": False}, 0), ("c", "qwen2_5", {}, 0)):
        (tmp_path / name).mkdir()
        judge = model_with(tmp_path / name, (TEMPLATES / f"{template}.jinja").read_text(), **keys)
        with_marks(judge)
        assert len(thinking_judge(judge)) == room
        caplog.clear()
        own = {"model": judge.model, "engine_args": ENGINE_ARGS, **keys}
        models = {"teacher": {"engine": "scripted"}, "judge": own}
        with caplog.at_level(logging.WARNING):
            preflight(job_from(job(tmp_path / name, judge) | {"models": models}))
        assert ("may think before each verdict" in caplog.text) == bool(room)


def with_marks(model: Model) -> None:
    """Make the marks of a thought tokens of the model's own, as they are those of models that think."""
    tokenizer = AutoTokenizer.from_pretrained(model.model)
    template = Path(model.model, "chat_template.jinja").read_text()
    tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.save_pretrained(model.model)
    Path(model.model, "chat_template.jinja").write_text(template)


def test_an_answer_that_is_bound_from_its_first_token_is_no_thought(tmp_path: Path) -> None:
    """Where the template opens a thought and the engine has no parser, the form of a guided answer binds at once."""
    model = model_with(tmp_path, OPENS)
    tokenizer = AutoTokenizer.from_pretrained(model.model)
    thinking = RoleThinking(model, tokenizer, template_thinking(renderer_of(tokenizer), model, where="models.teacher"))
    rendered, form = thinking.render(ASKED), '{"late": true}'
    tokens = tokenizer.encode(form, add_special_tokens=False)
    for prompt, text, thought in ((rendered, "", form), (rendered.without_thought(), form, "")):
        answer = thinking.take_apart(Completion(form, "stop", 9, len(tokens)), tokens, prompt=prompt, sampling={})
        assert (answer.text, answer.reasoning) == (text, thought)
