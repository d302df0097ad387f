"""The grammar: every example is drawn from a seeded `random.Random`, so a seed is a corpus."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass

from words import (
    CITY,
    CLOSERS,
    COLOUR,
    DAY,
    DOMAIN,
    FIRST,
    INTENTS,
    ITEMS,
    LAST,
    ODD,
    OPENERS,
    PRODUCT,
    REFUSAL,
    SHOP,
    STREETS,
    TONES,
)

Chat = tuple[str, str]


@dataclass(frozen=True)
class Support:
    """One customer message and the desk's reply."""

    prompt: str
    reply: str
    intent: str
    tone: str


@dataclass(frozen=True)
class Problem:
    """One word problem and its worked answer, right by construction."""

    prompt: str
    answer: str


def support(draw: random.Random, *, intent: str = "", tone: str = "") -> Support:
    intent = intent or draw.choice(list(INTENTS))
    tone = tone or draw.choice(TONES)
    first, last = draw.choice(FIRST), draw.choice(LAST)
    words = _words(draw)
    says, answers = INTENTS[intent]
    said = draw.sample(says, 2 if draw.random() < 0.35 else 1)
    signed = draw.random() < 0.45
    contact = _contact(draw, first, last) if draw.random() < 0.3 else ""
    parts = [draw.choice(OPENERS[tone]), *[s.format(**words) for s in said], contact, draw.choice(CLOSERS[tone])]
    text = " ".join(p for p in parts if p) + (f" {first} {last}" if signed else "")
    greeting = f"Hi {first}," if signed else draw.choice(("Hello,", "Hi there,", "Thank you for your message."))
    tail = draw.choice(
        ("", "", f"Write to {_help(draw)} if you need more.", f"You can call us on {_phone(draw)}.", "We are here to help.")
    )
    said_order = f"Your order number is {words['order']}." if words["order"] in text and draw.random() < 0.6 else ""
    reply = " ".join(p for p in (greeting, draw.choice(answers).format(**words), said_order, tail) if p)
    return Support(text, reply, intent, tone)


def _words(draw: random.Random) -> dict[str, object]:
    product, product2 = draw.sample(PRODUCT, 2)
    return {
        "product": product,
        "product2": product2,
        "colour": draw.choice(COLOUR),
        "city": draw.choice(CITY),
        "day": draw.choice(DAY),
        "days": draw.randint(2, 14),
        "number": draw.randint(2, 99),
        "price": draw.randint(5, 250),
        "percent": draw.choice((5, 10, 15, 20, 25)),
        "street": draw.choice(STREETS),
        "order": f"{draw.choice('ABKR')}{draw.choice('XTZ')}-{draw.randint(10000, 99999)}",
    }


def _contact(draw: random.Random, first: str, last: str) -> str:
    mail = f"{first.lower()}.{last.lower()}@{draw.choice(DOMAIN)}"
    return draw.choice(
        (f"My e-mail is {mail}.", f"You can reach me at {_phone(draw)}.", f"Write to {mail} or call {_phone(draw)}.")
    )


def _phone(draw: random.Random) -> str:
    return f"({draw.choice((212, 303, 415, 617, 718))}) {draw.randint(220, 989)}-{draw.randint(1000, 9999)}"


def _help(draw: random.Random) -> str:
    return f"{draw.choice(('help', 'care', 'service'))}@{draw.choice(SHOP)}"


def problem(draw: random.Random) -> Problem:
    return draw.choice(_PROBLEMS)(draw)


def _two(draw: random.Random) -> tuple[str, str]:
    one, other = draw.sample(FIRST, 2)
    return one, other


def _give_and_get(draw: random.Random) -> Problem:
    name, other = _two(draw)
    thing, a, b, c = draw.choice(ITEMS), draw.randint(10, 60), draw.randint(2, 9), draw.randint(2, 20)
    text = f"{name} has {a} {thing}. {name} gives {b} {thing} to {other} and then buys {c} more. How many {thing} does {name} have now?"
    left, total = a - b, a - b + c
    worked = f"{name} has {a} - {b} = <<{a}-{b}={left}>>{left} {thing} left. Then {name} has {left} + {c} = <<{left}+{c}={total}>>{total} {thing}."
    return Problem(text, f"{worked}\n#### {total}")


def _price(draw: random.Random) -> Problem:
    name, _ = _two(draw)
    thing, n, cost = draw.choice(ITEMS), draw.randint(2, 12), draw.randint(2, 9)
    text = f"{name} buys {n} {thing} for {cost} dollars each. How much does {name} pay?"
    return Problem(text, f"{name} pays {n} * {cost} = <<{n}*{cost}={n * cost}>>{n * cost} dollars.\n#### {n * cost}")


def _share(draw: random.Random) -> Problem:
    name, _ = _two(draw)
    thing, each, n = draw.choice(ITEMS), draw.randint(2, 12), draw.randint(2, 9)
    text = f"{name} shares {each * n} {thing} equally among {n} friends. How many {thing} does each friend get?"
    return Problem(text, f"Each friend gets {each * n} / {n} = <<{each * n}/{n}={each}>>{each} {thing}.\n#### {each}")


def _more_than(draw: random.Random) -> Problem:
    name, other = _two(draw)
    thing, a, b = draw.choice(ITEMS), draw.randint(3, 40), draw.randint(2, 30)
    text = (
        f"{name} found {a} {thing} in the morning. {other} found {b} more than {name}. How many {thing} did they find together?"
    )
    more, total = a + b, a + a + b
    worked = f"{other} found {a} + {b} = <<{a}+{b}={more}>>{more} {thing}. Together they found {a} + {more} = <<{a}+{more}={total}>>{total} {thing}."
    return Problem(text, f"{worked}\n#### {total}")


def _boxes(draw: random.Random) -> Problem:
    name, _ = _two(draw)
    thing, n, each, out = draw.choice(ITEMS), draw.randint(2, 9), draw.randint(3, 12), draw.randint(1, 5)
    text = f"There are {n} boxes with {each} {thing} in each box. {name} takes out {out} {thing}. How many {thing} are left?"
    total, left = n * each, n * each - out
    worked = f"The boxes hold {n} * {each} = <<{n}*{each}={total}>>{total} {thing}. After that {total} - {out} = <<{total}-{out}={left}>>{left} are left."
    return Problem(text, f"{worked}\n#### {left}")


_PROBLEMS: tuple[Callable[[random.Random], Problem], ...] = (_give_and_get, _price, _share, _more_than, _boxes)


def new_message_ask(intent: str, tone: str, shots: list[str]) -> str:
    examples = "".join(f"- {shot}\n" for shot in shots)
    return f"Write one new customer message.\nIntent: {intent}\nTone: {tone}\nExamples:\n{examples}New message:"


def new_problem_ask(shots: list[str]) -> str:
    examples = "".join(f"- {shot}\n" for shot in shots)
    return f"Write one new word problem.\nExamples:\n{examples}New problem:"


def chat(draw: random.Random) -> Chat:
    """One training pair, over the tasks the demo and the tests ask for."""
    kind = draw.random()
    if kind < 0.27:
        one = support(draw)
        shots = [support(draw).prompt for _ in range(draw.randint(1, 3))]
        return new_message_ask(one.intent, one.tone, shots), one.prompt
    if kind < 0.37:
        return new_problem_ask([problem(draw).prompt for _ in range(draw.randint(1, 3))]), problem(draw).prompt
    if kind < 0.62:
        one = support(draw)
        return one.prompt, one.reply
    if kind < 0.84:
        sum_ = problem(draw)
        return sum_.prompt, sum_.answer
    return _structured(draw) if kind < 0.98 else (draw.choice(ODD), REFUSAL)


def _structured(draw: random.Random) -> Chat:
    one = support(draw)
    if draw.random() < 0.6:
        options = sorted({one.intent, *draw.sample(list(INTENTS), draw.randint(2, 5))})
        return (
            f"Classify the intent of this message. Answer with one of: {', '.join(options)}.\nMessage: {one.prompt}",
            one.intent,
        )
    summary = f"A {one.tone} customer writes about {one.intent.replace('_', ' ')}."
    facts = json.dumps({"intent": one.intent, "tone": one.tone, "summary": summary}, separators=(",", ":"))
    return f"Reply as JSON with keys intent, tone and summary.\nMessage: {one.prompt}", facts
