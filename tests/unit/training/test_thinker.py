"""The tiny thinker: what it was trained on is right, and its tokenizer and template are cut as Qwen3's are."""

from __future__ import annotations

import json
import operator
import random
import re
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ROOT, TINY_THINKER

MARKS = ["<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]
OPERATIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
EQUATION = re.compile(r"(\d+(?: [-+*/] \d+)+) = (\d+)")


@pytest.fixture(scope="module", autouse=True)
def training_folder() -> Any:
    """The scripts of training/ import each other as they do when one of them is run."""
    sys.path.insert(0, str(ROOT / "training"))
    yield
    sys.path.remove(str(ROOT / "training"))


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(TINY_THINKER)


def value_of(expression: str) -> float:
    first, *rest = expression.split()
    value = float(first)
    for sign, number in zip(rest[::2], rest[1::2], strict=True):
        value = OPERATIONS[sign](value, float(number))
    return value


@given(st.integers(0, 2**32))
def test_every_equation_of_a_training_conversation_is_true(seed: int) -> None:
    from thinker import conversation

    said = [m for m in conversation(random.Random(seed)).messages if m["role"] == "assistant"]
    for message in said:
        thought, answer = message["reasoning_content"], message["content"]
        for text in (thought, re.sub("<<.*?>>", "", answer)):
            assert all(value_of(left) == float(right) for left, right in EQUATION.findall(text)), text
        for call in message.get("tool_calls", []):
            assert call["function"]["name"] in {"calculator", "clock", "weather", "order_status"}
    numbers = re.findall(r"#### (\d+)$", said[-1]["content"])
    if said[-1]["reasoning_content"] and numbers and len(said) == 1:
        assert f"The answer is {numbers[0]}." in said[-1]["reasoning_content"]


@given(st.integers(0, 2**32))
def test_a_problems_gold_answer_is_what_its_steps_lead_to(seed: int) -> None:
    from sums import gold, spread_problem, steps_of

    one = spread_problem(random.Random(seed))
    steps = steps_of(one)
    assert all(OPERATIONS[step.sign](step.left, step.right) == step.result for step in steps)
    assert gold(one) == str(steps[-1].result)


def test_the_problems_to_copy_are_the_generators() -> None:
    from seeds import PROBLEMS, problems_with_gold

    lines = (ROOT / "jobs" / "data" / "word_problems.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert rows == problems_with_gold(PROBLEMS, 200)
    assert len({row["prompt"] for row in rows}) == 200


def test_marks_are_one_token_each_and_survive_the_skipping_of_special_tokens(tokenizer: Any) -> None:
    ids = [tokenizer.encode(mark, add_special_tokens=False) for mark in MARKS]
    assert all(len(one) == 1 for one in ids)
    assert tokenizer.decode([i for one in ids for i in one], skip_special_tokens=True).replace(" ", "") == "".join(MARKS)
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.decode(tokenizer.encode("<|im_start|>a<|im_end|>"), skip_special_tokens=True) == "a"


def test_what_the_model_is_asked_with_begins_what_it_was_trained_on(tokenizer: Any) -> None:
    """Token by token: else the model would see a prefix it has never seen."""
    question = [{"role": "user", "content": "What is 3 + 4?"}]
    for thinks, thought in ((True, "3 + 4 = 7."), (False, "")):
        answered = [*question, {"role": "assistant", "content": "It is 7.\n#### 7", "reasoning_content": thought}]
        asked = tokenizer.apply_chat_template(question, tokenize=False, add_generation_prompt=True, enable_thinking=thinks)
        whole = tokenizer.apply_chat_template(answered, tokenize=False)
        prompt, text = tokenizer.encode(asked), tokenizer.encode(whole)
        assert text[: len(prompt)] == prompt
        assert asked.endswith("<think>\n\n</think>\n\n") is not thinks


def test_the_template_is_the_one_it_was_trained_with(tokenizer: Any) -> None:
    assert tokenizer.chat_template == (ROOT / "training" / "qwen3.jinja").read_text()
