"""Measures the tiny thinker on vLLM, on problems it was not trained on, and prints the figures as JSON.

    VLLM_CPU_KVCACHE_SPACE=1 python training/measure.py models/tiny-thinker

Answers are drawn at temperature 0.8. Thoughts are told apart by vLLM's own parser `qwen3`, tool calls by its parser `hermes`.
"""

from __future__ import annotations

import json
import operator
import random
import re
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from grammar import Problem
from sums import easy_sum, gold, spread_problem, word_problem
from thinker import CALCULATOR, Message
from vllm import LLM, SamplingParams
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.reasoning import ReasoningParserManager
from vllm.tool_parsers import ToolParserManager

SEED, TEMPERATURE, MAX_TOKENS, TURNS = 31, 0.8, 700, 5
OPERATIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}


class Measured:
    """The model in its engine, with vLLM's parsers."""

    def __init__(self, folder: str) -> None:
        self.llm = LLM(folder, dtype="bfloat16", enforce_eager=True, max_model_len=2048, max_num_seqs=64, seed=SEED)
        tokenizer = self.llm.get_tokenizer()
        self.thoughts = ReasoningParserManager.get_reasoning_parser("qwen3")(tokenizer)
        self.calls = ToolParserManager.get_tool_parser("hermes")(tokenizer)
        self.request = ChatCompletionRequest(messages=[{"role": "user", "content": "-"}])

    def asked(self, chats: Sequence[list[Message]], *, n: int = 1, thinks: bool = True, tools: Any = None) -> list[list[str]]:
        """So many texts for each chat."""
        sampling = SamplingParams(n=n, temperature=TEMPERATURE, max_tokens=MAX_TOKENS, seed=SEED)
        replies = self.llm.chat(
            list(chats), sampling, tools=tools, chat_template_kwargs={"enable_thinking": thinks}, use_tqdm=False
        )
        return [[one.text for one in reply.outputs] for reply in replies]

    def apart(self, text: str) -> tuple[str | None, str | None]:
        """The thought and the answer; the answer is None where the thought was not closed."""
        return self.thoughts.extract_reasoning(text, self.request)


def right(answer: str | None, wanted: str) -> bool:
    return bool(answer) and re.findall(r"#### (-?\d+)\s*$", answer or "") == [wanted]


def pass_rates(model: Measured, problems: list[Problem], *, n: int, thinks: bool) -> dict[str, Any]:
    asked = model.asked([[{"role": "user", "content": one.prompt}] for one in problems], n=n, thinks=thinks)
    # without thinking the template has closed the thought, and all text is the answer
    split = [[model.apart(text) if thinks else (None, text) for text in texts] for texts in asked]
    rates = [statistics.mean(right(answer, gold(one)) for _, answer in texts) for one, texts in zip(problems, split, strict=True)]
    figures: dict[str, Any] = {
        "problems": len(problems),
        "answers_each": n,
        "pass_rate": round(statistics.mean(rates), 3),
        "problems_by_pass_rate": dict(sorted(Counter(_band(rate) for rate in rates).items())),
    }
    if thinks:
        flat = [pair for texts in split for pair in texts]
        figures["thoughts_closed"] = round(statistics.mean(bool(thought) and bool(answer) for thought, answer in flat), 3)
        figures["median_thought_characters"] = statistics.median(len(thought or "") for thought, _ in flat)
    return figures


def _band(rate: float) -> str:
    if rate in (0, 1):
        return "always" if rate else "never"
    return "below half" if rate < 0.5 else "half and more"


def tool_use(model: Measured, problems: list[Problem]) -> dict[str, Any]:
    """Conversations with a calculator that really calculates, until an answer without a call."""
    chats: list[list[Message]] = [[{"role": "user", "content": one.prompt}] for one in problems]
    open_ones, made, parsed, answers = set(range(len(chats))), 0, 0, [""] * len(chats)
    for _ in range(TURNS):
        numbers = sorted(open_ones)
        for number, [text] in zip(numbers, model.asked([chats[i] for i in numbers], tools=[CALCULATOR]), strict=True):
            thought, answer = model.apart(text)
            answers[number] = answer or ""
            if "<tool_call>" not in answers[number]:
                open_ones.discard(number)
                continue
            made += 1
            message = _called(model, answers[number], thought)
            if message is None:
                open_ones.discard(number)
                continue
            parsed += 1
            chats[number] += message
        if not open_ones:
            break
    correct = [right(answer, gold(one)) for answer, one in zip(answers, problems, strict=True)]
    return {
        "problems": len(problems),
        "called_at_first": round(statistics.mean(len(chat) > 1 for chat in chats), 3),
        "calls": made,
        "calls_parsed": round(parsed / made, 3) if made else 0,
        "right_answers": round(statistics.mean(correct), 3),
    }


def _called(model: Measured, answer: str, thought: str | None) -> list[Message] | None:
    """The call and its result as messages, None where it does not parse or names no sum."""
    found = model.calls.extract_tool_calls(answer, model.request)
    if len(found.tool_calls) != 1 or found.tool_calls[0].function.name != "calculator":
        return None
    arguments = json.loads(found.tool_calls[0].function.arguments)
    result = calculated(str(arguments.get("expression")))
    if result is None:
        return None
    call = {"type": "function", "id": "1", "function": {"name": "calculator", "arguments": json.dumps(arguments)}}
    said = {"role": "assistant", "content": "", "reasoning_content": thought, "reasoning": thought, "tool_calls": [call]}
    return [said, {"role": "tool", "tool_call_id": "1", "content": result}]


def calculated(expression: str) -> str | None:
    parts = re.fullmatch(r"(\d+(?:\.\d+)?) ?([-+*/]) ?(\d+(?:\.\d+)?)", expression)
    if parts is None or (parts[2] == "/" and not float(parts[3])):
        return None
    return f"{OPERATIONS[parts[2]](float(parts[1]), float(parts[3])):g}"


def instructions(model: Measured, n: int) -> dict[str, Any]:
    """What the model writes after the template's prefix of a user's turn."""
    sampling = SamplingParams(n=n, temperature=1.0, max_tokens=200, seed=SEED)
    [reply] = model.llm.generate(["<|im_start|>user\n"], sampling, use_tqdm=False)
    texts = [one.text.strip() for one in reply.outputs if one.finish_reason == "stop"]
    whole = [text for text in texts if text and "<" not in text]
    return {"drawn": n, "whole": round(len(whole) / n, 3), "distinct": round(len(set(whole)) / n, 3), "examples": whole[:8]}


def main(folder: str) -> None:
    model, draw = Measured(folder), random.Random(SEED)
    fresh, easy = [spread_problem(draw) for _ in range(100)], [easy_sum(draw) for _ in range(40)]
    figures = {
        "thinking": pass_rates(model, fresh, n=8, thinks=True),
        "not_thinking": pass_rates(model, fresh, n=4, thinks=False),
        "easy_sums_thinking": pass_rates(model, easy, n=4, thinks=True),
        "calculator": tool_use(model, [word_problem(draw) for _ in range(50)]),
        "instructions": instructions(model, 64),
    }
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main(sys.argv[1])
