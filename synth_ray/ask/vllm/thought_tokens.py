"""Takes a generated answer apart by its tokens: where the thought ends, and how many tokens it took.

Law: a plain answer is no thought, whatever a parser of vLLM's makes of it, and a thought without an end leaves no answer. The
first `reasoning_tokens` of an answer's tokens are the thought with its marks; the tokens behind them are the answer's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from synth_ray.ask.thoughts import Marks, split_thought

Decode = Callable[[Sequence[int]], str]
"""Token ids to text, marks included."""


@dataclass(frozen=True, slots=True)
class TakenApart:
    """An answer, its thought, and the tokens of the thought with its marks."""

    text: str
    thought: str
    thought_tokens: int


@dataclass(frozen=True, slots=True)
class ThoughtSplitter:
    """Takes answers of one model apart. `marks` are around its thoughts; None where only the parser knows their form. `parser` is
    one of vLLM's reasoning parsers, or None; `mark_ids` the tokens of the marks, None for a mark that is several tokens.
    """

    marks: Marks | None
    decode: Decode
    parser: Any = None
    mark_ids: tuple[int | None, int | None] = (None, None)

    def split(self, text: str, tokens: Sequence[int], *, opened: bool) -> TakenApart:
        """`text` has the marks in it. `opened`: the prompt ends in the opening mark."""
        starts, ends = (self._count(place, text, tokens) for place in (0, 1))
        if self.marks is None:
            thought, answer = self._parsed(text)
        elif not starts and not ends and not opened:
            return TakenApart(text, "", 0)
        elif self.parser is None or starts > 1 or ends > 1 or (starts and not self._begins(text)):
            answer, thought = split_thought(text, self.marks, opened=opened)
        else:
            thought, answer = self._parsed(text)
        if thought is None:
            return TakenApart(text, "", 0)
        answer = (answer or "").strip()
        return TakenApart(answer, self._bare(thought), self._thought_tokens(answer, tokens))

    def _count(self, place: int, text: str, tokens: Sequence[int]) -> int:
        """How often a mark is in an answer. As a token it cannot be mistaken for an answer that speaks of marks."""
        if self.marks is None:
            return 0
        token = self.mark_ids[place]
        return text.count(self.marks[place]) if token is None else tokens.count(token)

    def _begins(self, text: str) -> bool:
        return self.marks is not None and text.lstrip().startswith(self.marks[0])

    def _parsed(self, text: str) -> tuple[str | None, str | None]:
        """(thought, answer) of one thought at the beginning, by vLLM's parser, which also knows what else ends a thought."""
        thought, answer = self.parser.extract_reasoning(text, None)
        return thought, answer

    def _bare(self, thought: str) -> str:
        opening = self.marks[0] if self.marks is not None else ""
        return thought.strip().removeprefix(opening).strip() if opening else thought.strip()

    def _thought_tokens(self, answer: str, tokens: Sequence[int]) -> int:
        """All tokens up to the last closing mark, or up to the answer where that is no token; all where no answer follows."""
        end = self.mark_ids[1]
        if end is not None and end in tokens:
            return len(tokens) - list(reversed(tokens)).index(end)
        low, high = (0, len(tokens)) if answer else (len(tokens), len(tokens))
        while low < high:  # the most tokens that can be left out before the answer is no longer whole
            middle = (low + high + 1) // 2
            low, high = (middle, high) if answer in self.decode(tokens[middle:]) else (low, middle - 1)
        return low
