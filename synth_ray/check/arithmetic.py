"""Checks the arithmetic of a worked answer: recomputes every equation exactly, and reads the final answer.

Equations are `<<12+7=19>>` and plain `12 + 7 = 19`; the final answer follows `####`. Nothing is evaluated by Python.
"""

from __future__ import annotations

import re
from fractions import Fraction

_NUMBER = r"\d[\d,]*(?:\.\d+)?|\.\d+"
_TOKEN = re.compile(rf"\s*(?:({_NUMBER})(%)?|([-+*/x×÷()]))")
_MARKED = re.compile(r"<<([^<>=]{1,200})=([^<>]{1,60})>>")
_PLAIN = re.compile(
    rf"(?<![\w.,%)/*+\-×÷=<])((?:[$€£]?\s?(?:{_NUMBER})%?\s*[-+*/×÷]\s*)+[$€£]?\s?(?:{_NUMBER})%?)\s*=\s*[$€£]?\s?(-?(?:{_NUMBER})%?)(?![\d/*×÷%]|\s*[-+*/×÷]\s*[\d(])"
)
_FINAL = re.compile(r"####\s*(-?[$€£]?\s*-?(?:\d[\d,]*(?:\.\d+)?|\.\d+))")
_MAX_EXPRESSION = 200


class _NotArithmetic(Exception):
    """The expression is not plain arithmetic, so it is not judged."""


def wrong_step(text: str) -> str:
    """The kind of the first wrong equation ('marked' or 'plain'), or '' if every equation that can be parsed is right.

    Plain equations in prose are unreliable ("so 1/2 of them = 12"): they are checked only if the text has no marked ones.
    """
    kind, pattern = ("marked", _MARKED) if _MARKED.search(text) else ("plain", _PLAIN)
    return "" if all(_holds(match[1], match[2]) for match in pattern.finditer(text)) else kind


def final_answer(text: str) -> Fraction | None:
    """The number after the last `####`, or None."""
    matches = _FINAL.findall(text)
    return number(matches[-1]) if matches else None


def number(text: str) -> Fraction | None:
    cleaned = re.sub(r"[$€£,\s]", "", text).rstrip(".")
    percent = cleaned.endswith("%")
    try:
        value = Fraction(cleaned.rstrip("%"))
    except (ValueError, ZeroDivisionError):
        return None
    return value / 100 if percent else value


def _holds(expression: str, result: str) -> bool:
    claimed = number(result)
    if claimed is None:
        return True
    try:
        values = _interpretations(expression)
    except (_NotArithmetic, ZeroDivisionError):
        return True
    slack = _tolerance(result)
    return any(abs(value - claimed) <= slack for value in values)


def _interpretations(expression: str) -> list[Fraction]:
    """A percent sign may mean a hundredth or be a unit: the value of each interpretation."""
    as_share = _Parser(expression, percent=Fraction(1, 100)).value()
    return [as_share, _Parser(expression, percent=Fraction(1)).value(), as_share * 100]


def _tolerance(result: str) -> Fraction:
    """Tolerance: one unit of the result's last decimal, so that rounded and truncated results pass; one half for a whole
    number.
    """
    decimals = result.split(".")[1] if "." in result else ""
    digits = len(re.sub(r"\D", "", decimals))
    return Fraction(1, 10**digits) if digits else Fraction(1, 2)


class _Parser:
    """Sums and products of decimal numbers with parentheses, by recursive descent, in exact fractions."""

    def __init__(self, text: str, *, percent: Fraction) -> None:
        if len(text) > _MAX_EXPRESSION:
            raise _NotArithmetic
        self._percent = percent
        self._tokens = self._tokenize(re.sub(r"[$€£]", "", text))
        self._position = 0

    def _tokenize(self, text: str) -> list[Fraction | str]:
        tokens: list[Fraction | str] = []
        at, text = 0, text.rstrip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise _NotArithmetic
            if match[1]:
                tokens.append(Fraction(match[1].replace(",", "")) * (self._percent if match[2] else 1))
            else:
                tokens.append(match[3].replace("x", "*").replace("×", "*").replace("÷", "/"))
            at = match.end()
        return tokens

    def value(self) -> Fraction:
        result = self._sum()
        if self._position != len(self._tokens):
            raise _NotArithmetic
        return result

    def _peek(self) -> Fraction | str | None:
        return self._tokens[self._position] if self._position < len(self._tokens) else None

    def _take(self) -> Fraction | str:
        token = self._peek()
        if token is None:
            raise _NotArithmetic
        self._position += 1
        return token

    def _sum(self) -> Fraction:
        result = self._product()
        while self._peek() in ("+", "-"):
            result = result + self._product() if self._take() == "+" else result - self._product()
        return result

    def _product(self) -> Fraction:
        result = self._factor()
        while self._peek() in ("*", "/") or isinstance(self._peek(), Fraction) or self._peek() == "(":
            if self._peek() not in ("*", "/"):
                result *= self._factor()  # 2(3+4)
            else:
                result = result * self._factor() if self._take() == "*" else result / self._factor()
        return result

    def _factor(self) -> Fraction:
        token = self._take()
        if isinstance(token, Fraction):
            return token
        if token == "-":
            return -self._factor()
        if token == "+":
            return self._factor()
        if token != "(":
            raise _NotArithmetic
        result = self._sum()
        if self._take() != ")":
            raise _NotArithmetic
        return result
