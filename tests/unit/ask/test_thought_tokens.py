"""Recorded answers of models that think, as tokens: vLLM's own parsers and gpt-oss's format, behind our laws."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.ask.thoughts import split_thought, thought_apart
from synth_ray.ask.vllm import harmony
from synth_ray.ask.vllm.engine import load_parser
from synth_ray.ask.vllm.role_thinking import RenderedPrompt, RoleThinking
from synth_ray.ask.vllm.template_thinking import TemplateThinking
from synth_ray.errors import JobError
from synth_ray.job.models import Model
from synth_ray.job.reasoning import HARMONY, THINK, parser_of_name
from synth_ray.recipes.contract import Completion
from synth_ray.recipes.finish_reasons import LENGTH, STOP
from tests.conftest import TINY_TEACHER

MARKS = {
    "qwen3": THINK,
    "deepseek_r1": THINK,
    "glm45": THINK,
    "nemotron_v3": THINK,
    "seed_oss": ("<seed:think>", "</seed:think>"),
}
CALL = '<tool_call>{"arguments":{"a":1},"name":"add"}</tool_call>'


@cache
def tokenizer(special: bool = False) -> Any:
    """The tiny teacher's, with the marks of the models as tokens."""
    from transformers import AutoTokenizer

    found = AutoTokenizer.from_pretrained(TINY_TEACHER)
    marks = [mark for pair in {THINK, MARKS["seed_oss"]} for mark in pair] + ["<tool_call>", "</tool_call>"]
    found.add_tokens(marks, special_tokens=special)
    return found


@cache
def thinking(parser: str, special: bool = False) -> RoleThinking:
    found = tokenizer(special)
    return RoleThinking(Model(model="m"), found, TemplateThinking({}, parser), load_parser(found, parser))


def read(parser: str, recorded: str, *, opened: bool = False, finish: str = STOP) -> Completion:
    """The answer in a recorded stream of tokens, as the engine hands it over: text with marks, and ids."""
    tokens = tokenizer().encode(recorded, add_special_tokens=False)
    answer = Completion(tokenizer().decode(tokens), finish, 7, len(tokens))
    return thinking(parser).take_apart(answer, tokens, prompt=RenderedPrompt([], opened, True), sampling={})


@pytest.mark.parametrize("parser", MARKS)
@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("form", ["{0}\n{2}\n{1}\n\n{3}", "{0}{2}{1}{3}", "{2}\n{1}\n\n{3}"])
def test_a_thought_is_taken_out_and_its_tokens_are_those_before_the_answer(parser: str, opened: bool, form: str) -> None:
    recorded = form.format(*MARKS[parser], "The order is late.", "It comes on Monday.")
    got = read(parser, recorded, opened=opened)
    assert (got.text, got.reasoning) == ("It comes on Monday.", "The order is late.")
    tokens = tokenizer().encode(recorded, add_special_tokens=False)
    assert got.reasoning_tokens is not None
    assert tokenizer().decode(tokens[got.reasoning_tokens :]).strip() == got.text
    assert tokens[got.reasoning_tokens - 1] == tokenizer().convert_tokens_to_ids(MARKS[parser][1])


@pytest.mark.parametrize("parser", MARKS)
def test_a_plain_answer_is_no_thought_though_vllms_parsers_take_it_for_one(parser: str) -> None:
    assert thinking(parser)._splitter.parser.extract_reasoning("It comes on Monday.", None)[0]
    got = read(parser, "It comes on Monday.")
    assert (got.text, got.reasoning, got.reasoning_tokens) == ("It comes on Monday.", "", 0)
    assert thought_apart(got, THINK) == got


@pytest.mark.parametrize("parser", MARKS)
@pytest.mark.parametrize(("opened", "begin"), [(False, True), (True, False), (True, True)])
@pytest.mark.parametrize("finish", [LENGTH, STOP])
def test_a_thought_without_an_end_leaves_no_answer(parser: str, opened: bool, begin: bool, finish: str) -> None:
    got = read(parser, MARKS[parser][0] * begin + "The order is late, so", opened=opened, finish=finish)
    assert (got.text, got.reasoning, got.finish_reason) == ("", "The order is late, so", finish)
    assert got.is_cut_in_thought and got.reasoning_tokens == got.completion_tokens


@pytest.mark.parametrize("parser", MARKS)
def test_a_second_thought_does_not_stay_in_the_answer(parser: str) -> None:
    opening, closing = MARKS[parser]
    got = read(parser, f"{opening}One.{closing}It{opening}Two.{closing}comes.")
    assert (got.text, got.reasoning) == ("It\n\ncomes.", "One.\n\nTwo.")
    got = read(parser, f"{opening}One.{closing}It{opening}Two.", finish=LENGTH)
    assert (got.text, got.reasoning) == ("", "One.\n\nTwo.")


@pytest.mark.parametrize(("parser", "ends"), [("qwen3", True), ("glm45", True), ("nemotron_v3", True), ("deepseek_r1", False)])
@pytest.mark.parametrize("opened", [False, True])
def test_a_call_of_a_tool_ends_a_thought_where_the_models_parser_says_so(parser: str, ends: bool, opened: bool) -> None:
    got = read(parser, f"{'' if opened else '<think>'}I add.{CALL}", opened=opened)
    assert (got.text, got.reasoning) == ((CALL, "I add.") if ends else ("", f"I add.{CALL}"))
    closed = read(parser, f"<think>I add.</think>{CALL}")
    assert (closed.text, closed.reasoning) == (CALL, "I add.")


def test_marks_that_are_special_tokens_are_asked_for_in_the_text() -> None:
    rendered = RenderedPrompt([], thinks=True)
    assert "skip_special_tokens" not in thinking("qwen3").sampling(rendered, 9)
    assert thinking("qwen3", special=True).sampling(rendered, 9)["skip_special_tokens"] is False


def test_a_budget_is_added_to_the_answers_tokens_only_where_a_thought_is_expected() -> None:
    model = Model.model_validate({"model": "m", "reasoning": {"think": True, "budget": 20}})
    role = RoleThinking(model, tokenizer(), TemplateThinking({}, "qwen3"), load_parser(tokenizer(), "qwen3"))
    assert role.sampling(RenderedPrompt([], thinks=True), 9) == {"max_tokens": 31, "thinking_token_budget": 20}
    assert role.sampling(RenderedPrompt([]), 9) == {"max_tokens": 9}


def test_a_parser_that_does_not_fit_the_tokenizer_is_refused_by_name() -> None:
    with pytest.raises(JobError, match=r"models\.teacher\.reasoning\.parser: wanted a parser .* got 'minimax_m3'"):
        load_parser(tokenizer(), "minimax_m3")


# gpt-oss.

FINAL = "<|start|>assistant<|channel|>final<|message|>"
ANALYSIS = "<|channel|>analysis<|message|>"


def harmony_read(recorded: str, finish: str = STOP, **sampling: Any) -> Completion:
    tokens = harmony.encoding().encode(recorded, allowed_special="all")
    role = RoleThinking(Model(model="m"), tokenizer(), TemplateThinking({}, HARMONY, expects=True), load_parser_of_gpt_oss())
    return role.take_apart(Completion("", finish, 7, len(tokens)), tokens, prompt=RenderedPrompt([]), sampling=sampling)


def load_parser_of_gpt_oss() -> Any:
    class Markless:
        reasoning_start_str = reasoning_end_str = None

    return Markless()


def test_gpt_oss_answers_are_read_by_their_channels() -> None:
    recorded = f"{ANALYSIS}Two and two.<|end|>{FINAL}It is 4.<|return|>"
    got = harmony_read(recorded)
    assert (got.text, got.reasoning) == ("It is 4.", "Two and two.")
    tokens = harmony.encoding().encode(recorded, allowed_special="all")
    assert harmony.encoding().decode(tokens[got.reasoning_tokens :]) == "It is 4.<|return|>"
    assert harmony_read(recorded, stop=[" 4"]).text == "It is"


@pytest.mark.parametrize("places", [3, 6, 7, 9, 11])
def test_a_gpt_oss_answer_cut_before_its_final_channel_is_cut_in_the_thought(places: int) -> None:
    encoding = harmony.encoding()
    tokens = encoding.encode(f"{ANALYSIS}Two and two.<|end|>{FINAL}4", allowed_special="all")[:places]
    got = harmony_read(encoding.decode(tokens), LENGTH)
    assert (got.text, got.reasoning_tokens) == ("", places)
    assert got.reasoning == "Two and two."[: len(got.reasoning)]


def test_a_gpt_oss_call_is_written_as_calls_are_and_its_preamble_is_part_of_the_answer() -> None:
    call = '<|start|>assistant<|channel|>commentary to=functions.add <|constrain|>json<|message|>{"a":1}<|call|>'
    got = harmony_read(f"{ANALYSIS}I add.<|end|>{call}")
    assert (got.text, got.reasoning) == (CALL, "I add.")
    preamble = "<|start|>assistant<|channel|>commentary<|message|>Let me add.<|end|>"
    assert harmony_read(f"{ANALYSIS}I add.<|end|>{preamble}{call}").text == f"Let me add.\n{CALL}"
    broken = harmony_read(f"{ANALYSIS}I add.<|end|>{call.replace('1}', '')}")
    assert broken.text == '<tool_call>{"arguments":"{\\"a\\":","name":"add"}</tool_call>'


# Marks in plain text.

plain = st.text(alphabet="ab \n.", max_size=12)


@given(plain, plain, plain, plain, st.booleans())
def test_splitting_plain_text_loses_nothing_and_leaves_no_mark(one: str, two: str, three: str, four: str, opened: bool) -> None:
    text = f"{'' if opened else '<think>'}{one}</think>{two}<think>{three}</think>{four}"
    answer, thought = split_thought(text, THINK, opened=opened)
    assert answer == "\n\n".join(part.strip() for part in (two, four) if part.strip())
    assert thought == "\n\n".join(part.strip() for part in (one, three) if part.strip())


@pytest.mark.parametrize(
    ("text", "marks", "answer", "thought"),
    [
        ("It comes.", THINK, "It comes.", ""),
        ("late</think>It comes.", THINK, "It comes.", "late"),
        ("late</think>It comes.", None, "late</think>It comes.", ""),
        ("late\n</think>\n\nIt comes.", None, "It comes.", "late"),
        ("Write <think> and\n</think>\nfor thoughts.", None, "Write <think> and\n</think>\nfor thoughts.", ""),
        ("<think>late", None, "", "late"),
        ("[T]late[/T]It comes.", ("[T]", "[/T]"), "It comes.", "late"),
    ],
)
def test_marks_in_text_are_a_thought_where_the_job_gives_them_or_nothing_else_is_meant(
    text: str, marks: tuple[str, str] | None, answer: str, thought: str
) -> None:
    got = thought_apart(Completion(text, STOP, 1, 9), marks)
    assert (got.text, got.reasoning) == (answer, thought)


def test_a_models_name_tells_its_parser() -> None:
    names = {
        "Qwen/Qwen3-8B": "qwen3", "Qwen/QwQ-32B": "qwen3", "Qwen/Qwen3-4B-Thinking-2507": "qwen3", "openai/gpt-oss-20b": HARMONY,
        "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B": "deepseek_r1", "deepseek-ai/DeepSeek-V3.1": "deepseek_r1",
        "zai-org/GLM-4.5-Air": "glm45", "mistralai/Magistral-Small-2509": "mistral", "/models/granite-3.3-8b-instruct": "granite",
        "Qwen/Qwen3-4B-Instruct-2507": "", "Qwen/Qwen3-Embedding-0.6B": "", "Qwen/Qwen2.5-7B-Instruct": "",
        "HuggingFaceTB/SmolLM2-135M-Instruct": "",
    }  # fmt: skip
    assert {name: parser_of_name(name) for name in names} == names
