"""Sums and word problems from one digit to three and from one step to three, and the working of them, digit by digit."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from grammar import Problem, problem
from words import DAY, FIRST, ITEMS

_WORKED = re.compile(r"<<(\d+)([-+*/])(\d+)=(\d+)>>")


@dataclass(frozen=True)
class Step:
    """One operation on two whole numbers."""

    left: int
    sign: str
    right: int
    result: int

    def __str__(self) -> str:
        return f"{self.left} {self.sign} {self.right}"


def steps_of(one: Problem) -> list[Step]:
    """The operations a worked answer writes down between `<<` and `>>`, in order."""
    return [Step(int(left), sign, int(right), int(result)) for left, sign, right, result in _WORKED.findall(one.answer)]


def gold(one: Problem) -> str:
    """The number after the last `####`."""
    return one.answer.rsplit("#### ", 1)[1]


def spread_problem(draw: random.Random) -> Problem:
    """A word problem or a bare sum, from very easy to hard."""
    kind = draw.random()
    if kind < 0.40:
        return problem(draw)
    return bare_sum(draw) if kind < 0.75 else long_problem(draw)


def word_problem(draw: random.Random) -> Problem:
    return problem(draw) if draw.random() < 0.6 else long_problem(draw)


def bare_sum(draw: random.Random) -> Problem:
    steps = draw.choice((_easy, _easy, _easy, _middle, _middle, _middle, _hard, _hard, _chain))(draw)
    text = " ".join([str(steps[0]), *(f"{step.sign} {step.right}" for step in steps[1:])])
    worked = " ".join(f"{step} = {_annotated(step)}." for step in steps)
    asked = draw.choice(("What is {}?", "Work out {}.", "How much is {}?", "{} = ?")).format(text)
    return Problem(asked, f"{worked}\n#### {steps[-1].result}")


def easy_sum(draw: random.Random) -> Problem:
    [step] = _easy(draw)
    return Problem(f"What is {step}?", f"{step} = {_annotated(step)}.\n#### {step.result}")


def drilled(draw: random.Random) -> str:
    """One of the small sums that every working is made of."""
    kind, one, other, third = draw.random(), draw.randint(0, 9), draw.randint(0, 9), 1
    if kind < 0.5:
        return (
            f"{one} + {other} + {third} = {one + other + third}." if draw.random() < 0.25 else f"{one} + {other} = {one + other}."
        )
    if kind < 0.7:
        high = one + 10 if one < other else one
        return f"{high} - {other} = {high - other}."
    if kind < 0.92:
        tens = draw.choice((1, 1, 10))
        return f"{one * tens} * {other} = {one * tens * other}."
    return f"{(one + 1) * (other + 1)} / {one + 1} = {other + 1}."


def step_of(left: int, sign: str, right: int) -> Step:
    results = {"+": left + right, "-": left - right, "*": left * right, "/": left // right}
    return Step(left, sign, right, results[sign])


def _annotated(step: Step) -> str:
    return f"<<{step.left}{step.sign}{step.right}={step.result}>>{step.result}"


def _easy(draw: random.Random) -> list[Step]:
    low, high = sorted((draw.randint(1, 9), draw.randint(1, 9)))
    return [step_of(high, draw.choice("+-*"), low)]


def _middle(draw: random.Random) -> list[Step]:
    sign = draw.choice("+-*/")
    if sign == "/":
        right, result = draw.randint(2, 9), draw.randint(2, 12)
        return [step_of(right * result, sign, right)]
    if sign == "*":
        return [step_of(draw.randint(11, 60), sign, draw.randint(2, 9))]
    low, high = sorted((draw.randint(11, 99), draw.randint(11, 99)))
    return [step_of(high, sign, low)]


def _hard(draw: random.Random) -> list[Step]:
    sign = draw.choice("+-**")
    if sign == "*":
        return [step_of(draw.randint(12, 99), sign, draw.randint(12, 49))]
    low, high = sorted((draw.randint(101, 999), draw.randint(101, 999)))
    return [step_of(high, sign, low)]


def _chain(draw: random.Random) -> list[Step]:
    first = step_of(draw.randint(5, 60), "+", draw.randint(5, 60))
    second = step_of(first.result, "-", draw.randint(2, first.result - 1))
    return [first, second] if draw.random() < 0.5 else [first, second, step_of(second.result, "+", draw.randint(2, 99))]


def long_problem(draw: random.Random) -> Problem:
    """Two or three steps with larger numbers than grammar's problems have."""
    return draw.choice(_LONG)(draw)


def _sales(draw: random.Random) -> Problem:
    name, thing = draw.choice(FIRST), draw.choice(ITEMS)
    n, cost, days = draw.randint(3, 25), draw.randint(2, 9), draw.randint(2, 12)
    text = f"{name} sells {n} {thing} a day for {cost} dollars each. How many dollars does {name} get in {days} days?"
    one = step_of(n, "*", cost)
    two = step_of(one.result, "*", days)
    worked = (
        f"In one day {name} gets {one} = {_annotated(one)} dollars. In {days} days that is {two} = {_annotated(two)} dollars."
    )
    return Problem(text, f"{worked}\n#### {two.result}")


def _stock(draw: random.Random) -> Problem:
    thing, a, b = draw.choice(ITEMS), draw.randint(50, 900), draw.randint(20, 400)
    c = draw.randint(10, a - 20)
    one, two = step_of(a, "+", b), step_of(a + b, "-", c)
    text = f"A shop has {a} {thing}. It gets {b} more and sells {c}. How many {thing} are left in the shop?"
    worked = f"With the new ones there are {one} = {_annotated(one)} {thing}. After that {two} = {_annotated(two)} are left."
    return Problem(text, f"{worked}\n#### {two.result}")


def _trip(draw: random.Random) -> Problem:
    name, days = draw.choice(FIRST), draw.sample(DAY, 3)
    a, b, c = (draw.randint(8, 300) for _ in range(3))
    one = step_of(a, "+", b)
    two = step_of(one.result, "+", c)
    text = (
        f"{name} drives {a} miles on {days[0]}, {b} miles on {days[1]} and {c} miles on {days[2]}. "
        f"How many miles does {name} drive in all?"
    )
    worked = f"The first two days are {one} = {_annotated(one)} miles. All three are {two} = {_annotated(two)} miles."
    return Problem(text, f"{worked}\n#### {two.result}")


def _change(draw: random.Random) -> Problem:
    name, thing, n, cost = draw.choice(FIRST), draw.choice(ITEMS), draw.randint(2, 15), draw.randint(2, 12)
    one = step_of(n, "*", cost)
    has = one.result + draw.randint(3, 120)
    two = step_of(has, "-", one.result)
    text = f"{name} has {has} dollars and buys {n} {thing} for {cost} dollars each. How many dollars does {name} have left?"
    worked = f"The {thing} cost {one} = {_annotated(one)} dollars. Then {two} = {_annotated(two)} dollars are left."
    return Problem(text, f"{worked}\n#### {two.result}")


_LONG: tuple[Callable[[random.Random], Problem], ...] = (_sales, _stock, _trip, _change)


def working(step: Step) -> str:
    """The step as on paper: columns with carry and borrow, a product by its parts, a quotient by the product that proves it."""
    if step.sign == "/":
        return f"{step.right} * {step.result} = {step.left}, so {step} = {step.result}."
    if max(step.left, step.right) < 10:
        return f"{step} = {step.result}."
    written = {"+": _columns_added, "-": _columns_taken, "*": _parts_multiplied}[step.sign](step.left, step.right)
    return f"{step}: {written} So {step} = {step.result}."


def _columns_added(left: int, right: int) -> str:
    lines, carry = [], 0
    for one, other in _columns(left, right):
        total = one + other + carry
        carried = f" + {carry}" if carry else ""
        carry = total // 10
        lines.append(f"{one} + {other}{carried} = {total}" + (f", write {total % 10}, carry {carry}." if carry else "."))
    return " ".join(lines)


def _columns_taken(left: int, right: int) -> str:
    lines, borrow = [], 0
    for one, other in _columns(left, right):
        lent = 10 if one - borrow - other < 0 else 0
        borrowed = f" - {borrow}" if borrow else ""
        rest = one + lent - borrow - other
        borrow = lent // 10
        lines.append(f"{one + lent}{borrowed} - {other} = {rest}" + (", borrow 1." if borrow else "."))
    return " ".join(lines)


def _columns(left: int, right: int) -> list[tuple[int, int]]:
    """Digits that stand above each other, ones first."""
    width = max(len(str(left)), len(str(right)))
    return [(left // 10**place % 10, right // 10**place % 10) for place in range(width)]


def _parts_multiplied(left: int, right: int) -> str:
    split, other = (left, right) if left >= right else (right, left)
    parts = [int(digit) * 10**place for place, digit in reversed(list(enumerate(reversed(str(split))))) if digit != "0"]
    lines, total = [], 0
    for part in parts:
        lines.append(f"{part} * {other} = {part * other}.")
        if total:
            lines.append(f"{total} + {part * other} = {total + part * other}.")
        total += part * other
    return " ".join(lines)
