"""Conversations of a teacher that thinks before it answers and calls tools. A seeded `random.Random` draws them, as in `grammar`.

A conversation is what `apply_chat_template` takes: messages with `reasoning_content` and `tool_calls`, and the tools offered.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

from grammar import Problem, Support, new_message_ask, new_problem_ask, problem, support
from sums import Step, bare_sum, drilled, easy_sum, gold, long_problem, spread_problem, steps_of, word_problem, working
from words import CITY, INTENTS, ODD, REFUSAL

Message = dict[str, Any]


@dataclass(frozen=True)
class Conversation:
    messages: list[Message]
    tools: list[dict[str, Any]] = field(default_factory=list)


def tool(name: str, description: str, argument: str, meaning: str) -> dict[str, Any]:
    """A function of one text argument, in OpenAI's schema."""
    parameters = {
        "type": "object",
        "properties": {argument: {"type": "string", "description": meaning}},
        "required": [argument],
    }
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


CALCULATOR = tool("calculator", "Works out an arithmetic expression.", "expression", "For example 12 * 7")
OTHERS = (
    tool("clock", "Tells the time in a city.", "city", "Name of the city"),
    tool("weather", "Tells the weather in a city.", "city", "Name of the city"),
    tool("order_status", "Tells where an order is.", "order", "Number of the order"),
)
SYSTEM = ("You are a helpful assistant.", "Be brief.", "Think before you answer.")
SYSTEM_SUMS = ("You are a patient teacher of mathematics.", "You solve problems with numbers.", *SYSTEM)
SYSTEM_SUPPORT = ("You answer the customers of a shop.", "You work at the help desk of a shop.", *SYSTEM)
PLANS = {
    "delivery_late": "say where the parcel is and when it comes",
    "refund": "say when the money comes back",
    "cancel_order": "say if the order can be cancelled",
    "change_address": "say that the new address is saved",
    "damaged_item": "say sorry and offer a new one",
    "wrong_item": "say sorry and send the right one",
    "invoice": "say where the invoice is",
    "password": "help with the login",
    "discount_code": "say if the discount counts",
    "warranty": "say if the repair is free",
    "product_question": "tell what we know of the product",
    "complaint": "say sorry and make it good",
}


def conversation(draw: random.Random) -> Conversation:
    """One training conversation. A quarter of those without tools have no thought, as with `enable_thinking=False`."""
    kind = draw.random()
    if kind < 0.18:
        return with_tools(draw)
    if kind < 0.23:
        return Conversation([*_exchange(draw, silent=True), *_exchange(draw)])
    if kind < 0.27:
        return Conversation(_system(draw, SYSTEM_SUMS) + counted_up(draw))
    return Conversation(_exchange(draw, silent=draw.random() < 0.25, system=True))


DRILL = "Say some sums."


def practice(draw: random.Random) -> Conversation:
    """What is learned last: sums, most of them short, and drills; one in fourteen conversations is of any kind."""
    kind = draw.random()
    if kind < 0.45:
        return Conversation([user(DRILL), assistant("\n".join(drilled(draw) for _ in range(18)), "That was it.")])
    if kind < 0.52:
        return conversation(draw)
    one = (
        easy_sum(draw) if kind < 0.68 else bare_sum(draw) if kind < 0.75 else problem(draw) if kind < 0.95 else long_problem(draw)
    )
    question, thought, answer, plain = sum_asked(draw, one)
    return Conversation([user(question), assistant("", plain) if draw.random() < 0.2 else assistant(thought, answer)])


def _exchange(draw: random.Random, *, silent: bool = False, system: bool = False) -> list[Message]:
    kind = draw.random()
    if kind < 0.58:
        asked, preset = sum_asked(draw, spread_problem(draw)), SYSTEM_SUMS
    elif kind < 0.78:
        asked, preset = support_asked(draw), SYSTEM_SUPPORT
    else:
        asked, preset = other_asked(draw), SYSTEM
    question, thought, answer, plain = asked
    said = assistant("", plain) if silent else assistant(thought, answer)
    return (_system(draw, preset) if system else []) + [user(question), said]


def _system(draw: random.Random, texts: tuple[str, ...]) -> list[Message]:
    return [{"role": "system", "content": draw.choice(texts)}] if draw.random() < 0.12 else []


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def assistant(thought: str, answer: str, **more: Any) -> Message:
    return {"role": "assistant", "content": answer, "reasoning_content": thought, **more}


Asked = tuple[str, str, str, str]
"""Question, thought, the answer after a thought, the answer without one."""


def sum_asked(draw: random.Random, one: Problem) -> Asked:
    twice = draw.random() < 0.05
    question = one.prompt + (draw.choice((" Check it twice.", " Check your answer again and again.")) if twice else "")
    return question, thought_of(draw, one, again=draw.randint(3, 5) if twice else 0), short_answer(draw, gold(one)), one.answer


def thought_of(draw: random.Random, one: Problem, *, again: int = 0) -> str:
    """Worked digit by digit, or results alone, more often the larger the numbers are: there a model is wrong more often."""
    steps = steps_of(one)
    largest = max(max(step.left, step.right) for step in steps)
    quick = not again and draw.random() < (0.1 if largest < 20 else 0.25 if largest < 100 else 0.5)
    opening = draw.choice(("Let me think.", "Step by step.", "Okay.", "I need the numbers first."))
    lines = [f"{step} = {step.result}." if quick else working(step) for step in steps]
    if len(lines) > 1:
        lines = [f"{word} {line}" for word, line in zip(("First", "Then", "Last"), lines, strict=False)]
    checks = [f"Let me check again. {working(step)} That is right." for _ in range(again) for step in steps]
    return "\n".join([opening, *lines, *checks, f"The answer is {gold(one)}."])


def short_answer(draw: random.Random, number: str) -> str:
    said = draw.choice(("The answer is {}.", "That makes {}.", "It is {}.", "The result is {}."))
    return f"{said.format(number)}\n#### {number}"


def counted_up(draw: random.Random) -> list[Message]:
    """A sum by counting: a thought of some hundred tokens."""
    start, more = draw.randint(3, 60), draw.randint(25, 60)
    counted = ", ".join(f"{start + i} is {i}" for i in range(1, more + 1))
    question = draw.choice(("Add {} and {} by counting up.", "Count up from {} by {} steps of one. Where do you land?"))
    thought = f"I start at {start} and count up {more}.\n{counted}.\nThe answer is {start + more}."
    return [user(question.format(start, more)), assistant(thought, short_answer(draw, str(start + more)))]


def support_asked(draw: random.Random) -> Asked:
    one = support(draw)
    return one.prompt, support_thought(draw, one), one.reply, one.reply


def support_thought(draw: random.Random, one: Support) -> str:
    topic = one.intent.replace("_", " ")
    saw = draw.choice(("The customer writes about {}.", "This is about {}.", "The topic is {}.")).format(topic)
    return f"{saw} Tone: {one.tone}. I should {PLANS[one.intent]}."


def other_asked(draw: random.Random) -> Asked:
    kind = draw.random()
    if kind < 0.35:
        return _classified(draw)
    if kind < 0.65:
        return _as_json(draw)
    if kind < 0.93:
        return _new_one(draw)
    return draw.choice(ODD), "This could hurt someone. I should not help with it.", REFUSAL, REFUSAL


def _classified(draw: random.Random) -> Asked:
    one = support(draw)
    options = sorted({one.intent, *draw.sample(list(INTENTS), draw.randint(2, 5))})
    question = f"Classify the intent of this message. Answer with one of: {', '.join(options)}.\nMessage: {one.prompt}"
    thought = f"The message is about {one.intent.replace('_', ' ')}. The choice that fits is {one.intent}."
    return question, thought, one.intent, one.intent


def _as_json(draw: random.Random) -> Asked:
    one = support(draw)
    topic = one.intent.replace("_", " ")
    facts = {"intent": one.intent, "tone": one.tone, "summary": f"A {one.tone} customer writes about {topic}."}
    thought = f"The message is about {topic}. Tone: {one.tone}. I should write JSON with intent, tone and summary."
    answer = json.dumps(facts, separators=(",", ":"))
    return f"Reply as JSON with keys intent, tone and summary.\nMessage: {one.prompt}", thought, answer, answer


def _new_one(draw: random.Random) -> Asked:
    if draw.random() < 0.5:
        new = problem(draw).prompt
        question = new_problem_ask([problem(draw).prompt for _ in range(draw.randint(1, 2))])
        return question, "I should write a new problem with other names and numbers.", new, new
    one = support(draw)
    question = new_message_ask(one.intent, one.tone, [support(draw).prompt for _ in range(draw.randint(1, 2))])
    thought = f"I write as a customer. Topic: {one.intent.replace('_', ' ')}. Tone: {one.tone}."
    return question, thought, one.prompt, one.prompt


def with_tools(draw: random.Random) -> Conversation:
    """The calculator, now and then beside another tool; a tenth of the questions are for the other one and a tenth for none."""
    tools = [CALCULATOR, *draw.sample(OTHERS, draw.choice((0, 0, 0, 1, 1, 2)))]
    draw.shuffle(tools)
    other = next((each for each in tools if each is not CALCULATOR), None)
    kind = draw.random()
    if kind < 0.12:
        question, thought, answer, _ = support_asked(draw)
        return Conversation([user(question), assistant(f"{thought} No tool is needed.", answer)], tools)
    if kind < 0.35 and other is not None:
        return Conversation(_looked_up(draw, other["function"]["name"]), tools)
    return Conversation(_system(draw, SYSTEM_SUMS) + _calculated(draw), tools)


def _calculated(draw: random.Random) -> list[Message]:
    """Every step is a call. One in six conversations has no thoughts, and may end with any of its calls."""
    one = bare_sum(draw) if draw.random() < 0.4 else word_problem(draw)
    silent = draw.random() < 0.17
    messages, known = [user(one.prompt)], "Let me use the calculator."
    for step in steps_of(one):
        thought = "" if silent else f"{known} I need {step}."
        messages += [call(thought, "calculator", expression=str(step)), {"role": "tool", "content": _result(draw, step)}]
        known = f"The calculator says {step.result}."
    last = "" if silent else f"{known} That is the answer."
    whole = [*messages, assistant(last, short_answer(draw, gold(one)))]
    return whole[: 2 * draw.randint(1, len(whole) // 2)] if silent else whole


def _result(draw: random.Random, step: Step) -> str:
    number = f"{step.result}.0" if step.sign == "/" and draw.random() < 0.5 else str(step.result)
    return json.dumps({"result": float(number) if "." in number else int(number)}) if draw.random() < 0.25 else number


def call(thought: str, name: str, **arguments: str) -> Message:
    return assistant(thought, "", tool_calls=[{"type": "function", "function": {"name": name, "arguments": arguments}}])


def _looked_up(draw: random.Random, name: str) -> list[Message]:
    city = draw.choice(CITY)
    order = f"{draw.choice('ABKR')}{draw.choice('XTZ')}-{draw.randint(10000, 99999)}"
    asks = {
        "clock": ("What time is it in {}?", "city", city, f"{draw.randint(1, 12)}:{draw.randint(10, 59)}", "It is {} in {}."),
        "weather": (
            "How is the weather in {}?",
            "city",
            city,
            draw.choice(("sunny", "rain", "snow", "cloudy", "windy")),
            "The weather report is {} for {}.",
        ),
        "order_status": ("Where is order {}?", "order", order, f"in {city}", "It is {} now. The order is {}."),
    }
    question, argument, value, found, said = asks[name]
    return [
        user(question.format(value)),
        call(f"I need the {name} tool for {value}.", name, **{argument: value}),
        {"role": "tool", "content": found},
        assistant(f"The {name} tool says {found}.", said.format(found, value)),
    ]
