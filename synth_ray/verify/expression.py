"""Sums and products of decimal numbers with parentheses, by recursive descent, in exact fractions."""

from __future__ import annotations

import re
from fractions import Fraction

from synth_ray.verify.numbers import DECIMAL

_TOKEN = re.compile(rf"\s*(?:({DECIMAL})\s?(%)?|([-+*/x×÷()]))")
_LONGEST = 200
_OPERATORS = {"x": "*", "×": "*", "÷": "/"}


class NotArithmetic(Exception):
    """The expression is not plain arithmetic, so it is not judged."""


def values_of(expression: str) -> list[Fraction]:
    """The value of each reading: a percent sign is a hundredth, or a unit. Raises NotArithmetic."""
    if "%" not in expression:
        return [_Parser(expression, percent=Fraction(1)).value()]
    return [_Parser(expression, percent=percent).value() for percent in (Fraction(1, 100), Fraction(1))]


class _Parser:
    def __init__(self, text: str, *, percent: Fraction) -> None:
        if len(text) > _LONGEST:
            raise NotArithmetic
        self._percent = percent
        self._tokens = self._tokenize(re.sub(r"[$€£]", "", text))
        self._position = 0

    def _tokenize(self, text: str) -> list[Fraction | str]:
        tokens: list[Fraction | str] = []
        at, text = 0, text.rstrip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise NotArithmetic
            if match[1]:
                tokens.append(Fraction(re.sub(r"[^\d.]", "", match[1])) * (self._percent if match[2] else 1))
            else:
                tokens.append(_OPERATORS.get(match[3], match[3]))
            at = match.end()
        return tokens

    def value(self) -> Fraction:
        try:
            result = self._sum()
        except ZeroDivisionError:
            raise NotArithmetic from None
        if self._position != len(self._tokens):
            raise NotArithmetic
        return result

    def _peek(self, ahead: int = 0) -> Fraction | str | None:
        place = self._position + ahead
        return self._tokens[place] if place < len(self._tokens) else None

    def _take(self) -> Fraction | str:
        token = self._peek()
        if token is None:
            raise NotArithmetic
        self._position += 1
        return token

    def _sum(self) -> Fraction:
        result = self._product()
        while self._peek() in ("+", "-"):
            result = result + self._product() if self._take() == "+" else result - self._product()
        return result

    def _product(self) -> Fraction:
        result = self._factor()
        while self._peek() in ("*", "/", "("):
            if self._peek() == "(":
                result *= self._factor()  # 2(3+4)
            else:
                result = result * self._factor() if self._take() == "*" else result / self._factor()
        return result

    def _factor(self) -> Fraction:
        token = self._take()
        if isinstance(token, Fraction):
            return self._mixed(token)
        if token == "-":
            return -self._factor()
        if token == "+":
            return self._factor()
        if token != "(":
            raise NotArithmetic
        result = self._sum()
        if self._take() != ")":
            raise NotArithmetic
        return result

    def _mixed(self, whole: Fraction) -> Fraction:
        """A whole number and the fraction behind it, as in 2 1/2, or the number alone."""
        above, slash, below = self._peek(), self._peek(1), self._peek(2)
        if not (isinstance(above, Fraction) and slash == "/" and isinstance(below, Fraction)):
            return whole
        if not above < below:
            raise NotArithmetic
        self._position += 3
        return whole + above / below
