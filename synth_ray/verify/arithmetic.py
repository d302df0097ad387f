r"""Checks the arithmetic of a worked answer: recomputes every equation exactly, and reads the final answer.

Equations are `<<12+7=19>>` and plain `12 + 7 = 19`, with units or without; the final answer follows `####` or is in `\boxed{}`.
Nothing is evaluated by Python. What cannot be read for certain is not judged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

from synth_ray.verify.expression import NotArithmetic, values_of
from synth_ray.verify.numbers import CURRENCY, DECIMAL, Written, first_number, plain_text, read_number

_MARKED = re.compile(r"<<([^<>=]{1,200})=([^<>]{1,60})>>\s?[$€£]?\s?(?:(\d[\d.,]*)\s?(%|percent)?)?")
_FINAL = re.compile(r"####[ \t]*([^\n]*)")
_BOXED = re.compile(r"\\boxed\s*\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}")
_LABEL = re.compile(
    r"^(?:[^\d=]{0,60}=|[^\d$€£.\-(\\]{0,40}:|(?:the )?(?:final )?answer(?: is)?:?|approximately|about|≈|~)?\s*", re.IGNORECASE
)

# An operand is a number with its currency, percent sign and unit. A unit is read only where an operator or = follows it.
_UNIT = (
    r"(?:(?:\s|(?=[^\W\d_]{2}))(?!(?:of|x|times|plus|minus|divided|multiplied|is|are|and|or|then|so|if|more|less|than|"
    r"by|because|since|"
    r"we|he|she|it|they|you|gets?|got|gives?|makes?|costs?|has|have|to|that|this|which|there|[b-z])\b)"
    r"[^\W\d_][\w'’-]{0,30}(?:\s?/\s?[^\W\d_]{1,30})?)"
)
_SIGN = r"(?:[-+*/×÷]|x(?=\s*[$€£(]?\s?\d)|(?:times|multiplied by|divided by|plus|minus|of)\b)"
_OPERAND = re.compile(
    rf"\s*(?P<open>\({{0,8}})(?P<number>-?(?:{CURRENCY}\s?)?(?:\d+ "
    rf"(?=\d+/\d))?(?:{DECIMAL})(?:/\d+(?![\d.,]*\d?\s*%))?)(?:\s?(?P<percent>%|percent\b))?(?P<close>\){{0,8}})"
    rf"(?:\s?\$)?(?P<unit>(?:/[^\W\d_]+|{_UNIT}{{1,4}}?)(?=\s*(?:{_SIGN}|=|\))))?(?P<close2>\){{0,8}})"
)
_START = re.compile(rf"\({{0,8}}-?(?:{CURRENCY}\s?)?(?:\d|\.\d)")
_OPERATOR = re.compile(rf"\s*(?P<sign>{_SIGN})")
_EQUALS = re.compile(r"\s*=(?![=>])\s*")
_NAMED = {
    "times": "*",
    "multiplied by": "*",
    "of": "*",
    "x": "*",
    "×": "*",
    "divided by": "/",
    "÷": "/",
    "plus": "+",
    "minus": "-",
}
_SCALE = re.compile(r"\b(?:k|m|thousand|million|billion|hundred|dozens?|pairs?|score|half|double|twice)\b", re.IGNORECASE)
_RUNNING = re.compile(rf"((?:{CURRENCY})?(?:{DECIMAL}))[-+*/].*")
"""A result that is reckoned with at once: `10 - 4 = 6 - 1 = 5`."""
_JOINED_BEFORE = re.compile(r"(?:[\w.,:^!%)\]}√|\\_]|[-+*/×÷=]\s*)$")
_JOINED_AFTER = re.compile(r"[\w:^!(¢]|\s*(?:[*×÷+]|x(?=\s*\d)|of\b|cents?\b)|\s*[-/]\s*[\d($.]|[.,]\d|-[^\W\d_]")


def has_wrong_arithmetic(text: str, gold: str = "") -> bool:
    """Whether a step is wrong, or the final answer differs from the gold one or, without one, from every step.

    `gold` is a number or a worked answer.
    """
    wrong = wrong_step(text)
    true = final_answer(gold) or read_number(gold) or (first_number(gold) if gold.strip()[:1].isdigit() else None)
    final = final_answer(text)
    if true is None:
        return wrong != "" or (final is not None and not _is_supported(text, final))
    # If the final answer is right, a wrong plain equation is too weak as evidence.
    return wrong == "marked" or final is None or not final.equals(true)


def wrong_step(text: str) -> str:
    """The kind of the first wrong equation ('marked' or 'plain'), or '' if every equation that can be read is right.

    Plain equations are less certain, so they are checked only if the text has no marked ones.
    """
    if _MARKED.search(text):
        return "" if all(_is_marked_right(*match.groups()) for match in _MARKED.finditer(text)) else "marked"
    return "" if all(_is_true(left, right, False) for left, right in _equations(plain_text(text))) else "plain"


def final_answer(text: str) -> Written | None:
    r"""The number after the last `####`, else that in the last `\boxed{}`, or None."""
    found = _FINAL.findall(text) or _BOXED.findall(text)
    if not found:
        return None
    boxed = _BOXED.search(found[-1])
    answer = plain_text(boxed[1] if boxed else found[-1]).strip().strip("*_` ").removeprefix("$").strip()
    return first_number(_LABEL.sub("", re.sub(r"^\(([-\d.,]+)\)/\(([\d.,]+)\)", r"\1/\2", answer), count=1))


def _is_supported(text: str, final: Written) -> bool:
    """Whether the final answer is a result of a step, or stated behind the last one. True if there are no steps."""
    worked = _FINAL.split(text)[0] if "####" in text else _BOXED.sub(" ", text)
    marked = list(_MARKED.finditer(worked))
    results = [match[2] for match in marked] or [right for _, right in _equations(plain_text(worked))]
    if not results:
        return True
    last = worked[marked[-1].start() :] if marked else worked.rstrip().rsplit("\n", 1)[-1]
    return any(_says(result, final) for result in [results[-1], *re.findall(rf"-?(?:{DECIMAL})%?", last)])


def _says(result: str, final: Written) -> bool:
    written = first_number(result)
    if written is None:
        return True
    slack = max(_tolerance(result), Fraction(1, 2) if final.decimals == 0 else Fraction(0))
    return written.equals(final) or abs(abs(written.value) - abs(final.value)) < slack


def _is_marked_right(left: str, right: str, shown: str | None, percent: str | None) -> bool:
    """Whether a marked step is right, and the number written behind it is its result."""
    result, said = read_number(right), read_number((shown or "").rstrip(".,"))
    is_shown = (
        percent or result is None or said is None or said.equals(result) or abs(said.value - result.value) <= Fraction(1, 2)
    )
    return bool(is_shown) and _is_true(left, right, bool(percent))


def _is_true(left: str, right: str, is_percent: bool) -> bool:
    """Whether both sides are one value, within the rounding of the right one. `is_percent`: a percent sign follows."""
    try:
        results, values = values_of(right), values_of(left)
    except NotArithmetic:
        return True
    if is_percent or "%" in left + right:
        values = values + [value * 100 for value in values]
    slack = _tolerance(right)
    if _RUNNING.match(right):
        results = results + values_of(_RUNNING.sub(r"\1", right))
    return any(abs(value - result) <= slack for value in values for result in results)


def _tolerance(result: str) -> Fraction:
    """One unit of the last decimal, so that rounded and truncated results pass; one half for a whole number."""
    if re.search(r"\d\s*[-+*/(]", result):
        return Fraction(1, 100)
    digits = len(re.sub(r"\D", "", result.partition(".")[2]))
    return Fraction(1, 10**digits) if digits else Fraction(1, 2)


def _equations(text: str) -> Iterator[tuple[str, str]]:
    """Both sides of each equation, without units. A chain `a = b = c` has two."""
    for line in text.splitlines():
        for sides in _chains(line):
            for left, right in pairwise(sides):
                if left and right and re.search(r"[\d)]\s*[-+*/]", left):
                    yield left, right


def _chains(line: str) -> Iterator[list[str]]:
    """Each run of expressions joined by `=`. A side that cannot be read whole is empty."""
    at = 0
    while (start := _START.search(line, at)) is not None:
        at = start.start()
        side, end = _side(line, at)
        before = line[max(0, at - 8) : at]
        is_joined = _JOINED_BEFORE.search(before) is not None and not before.rstrip().endswith("=")
        is_bullet = at < 8 and before.strip() in ("-", "*")
        sides = ["" if is_joined and not is_bullet else side]
        while (equals := _EQUALS.match(line, end)) is not None:
            side, after = _side(line, equals.end())
            sides.append(side)
            end = max(after, equals.end())
            if not side:
                break
        yield sides
        at = max(end, at + 1)


def _side(line: str, at: int) -> tuple[str, int]:
    """The expression that begins at a place, '' if it cannot be judged, and where it ends."""
    parts: list[str] = []
    units: list[str] = []
    while (operand := _OPERAND.match(line, at)) is not None:
        number = operand["number"]
        if "/" in number and parts and parts[-1] == "/" and line[at : at + 1].isspace():
            number = f"({number})"  # 28 / 1/5
        parts.append(f"{operand['open']}{number}{'%' if operand['percent'] else ''}{operand['close']}{operand['close2']}")
        units.append((operand["unit"] or "").strip().casefold())
        at = operand.end()
        operator = _OPERATOR.match(line, at)
        if operator is not None and operator["sign"] == "of" and (units[-1] or not re.search(r"[/%]", parts[-1])):
            break  # a total of 5, not a half of 5
        if operator is None or _OPERAND.match(line, operator.end()) is None:
            break
        parts.append(_NAMED.get(operator["sign"], operator["sign"]))
        at = operator.end()
    text = "".join(parts)
    is_whole = any(units[-1:]) or _JOINED_AFTER.match(line, at) is None
    return (text if is_whole and _is_plain(text, units) else ""), at


def _is_plain(text: str, units: list[str]) -> bool:
    """Whether the numbers are what they say: no sums of hours and minutes, no dozens, no times of day such as 0130."""
    is_mixed = len({unit.rstrip("s") for unit in units if unit}) > 1 and re.search(r"\d[%)]*[-+]", text) is not None
    return not is_mixed and not any(_SCALE.search(unit) for unit in units) and re.search(r"(?<![\d.,])0\d", text) is None
