"""Tokens per second, requests in flight and replicas over a run, in at most 120 points however long it lasts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

MAX_POINTS = 120
_FIRST_SPAN_S = 1.0
_SHORTEST_SPAN_S = 0.01


@dataclass(slots=True)
class _Span:
    """From the end of the span before to `end_s`. The integrals are over its seconds."""

    end_s: float
    tokens: int
    in_flight: float
    replicas: float


class Timeline:
    """Fed at every tick. Pure: the caller says what time it is, in seconds since the run began.

    Law: at most MAX_POINTS points, whose times ascend; every span begins where the one before it ends, the first at 0, so that
    its rate times its length adds up to the tokens. When all points are used, neighbours become one.
    """

    def __init__(self) -> None:
        self._spans: dict[int, _Span] = {}
        self._span_s = _FIRST_SPAN_S
        self._now = 0.0
        self._unspanned = 0

    def tick(self, now: float, *, tokens: int, in_flight: int, replicas: int) -> None:
        """`tokens` were generated since the last tick; `in_flight` and `replicas` held since then."""
        self._unspanned += tokens
        elapsed = now - self._now
        if elapsed < _SHORTEST_SPAN_S:
            return
        self._now = now
        while now >= MAX_POINTS * self._span_s:
            self._halve()
        self._add(int(now // self._span_s), _Span(now, self._unspanned, in_flight * elapsed, replicas * elapsed))
        self._unspanned = 0

    def _halve(self) -> None:
        spans, self._spans = self._spans, {}
        self._span_s *= 2
        for number, span in spans.items():
            self._add(number // 2, span)

    def _add(self, number: int, more: _Span) -> None:
        span = self._spans.get(number)
        if span is None:
            self._spans[number] = more
            return
        span.end_s = more.end_s
        span.tokens += more.tokens
        span.in_flight += more.in_flight
        span.replicas += more.replicas

    def points(self) -> list[dict[str, float]]:
        """The points: `t_s` is the end of the span, the others are means over it."""
        return list(self._points())

    def _points(self) -> Iterator[dict[str, float]]:
        begin_s = exact_begin_s = 0.0
        spans = list(self._spans.values())
        for span in spans:
            end_s = round(span.end_s, 3)
            seconds, exact = end_s - begin_s, span.end_s - exact_begin_s
            tokens = span.tokens + (self._unspanned if span is spans[-1] else 0)
            yield {
                "t_s": end_s,
                "completion_tokens_s": round(tokens / seconds, 3),
                "in_flight": round(span.in_flight / exact, 2),
                "replicas": round(span.replicas / exact, 2),
            }
            begin_s, exact_begin_s = end_s, span.end_s
