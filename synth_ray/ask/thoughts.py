"""Takes the thought of an answer apart from its text, in whichever engine it was made.

Law: what a recipe, a check or a trainer sees as the answer holds no thought; a thought without an end leaves no answer. Engines
that know more than the text (token ids, fields of a reply) have done it before; this is for marks in plain text.
"""

from __future__ import annotations

from dataclasses import replace

from synth_ray.job.reasoning import THINK
from synth_ray.recipes.contract import Completion

Marks = tuple[str, str]


def thought_apart(answer: Completion, marks: Marks | None) -> Completion:
    """The answer with its thought in `reasoning`. Without `marks`, only a text that begins with `<think>` is taken for a thought:
    an answer may speak of such marks.
    """
    if answer.reasoning or (marks is None and not answer.text.lstrip().startswith(THINK[0])):
        return answer
    text, thought = split_thought(answer.text, marks or THINK)
    return replace(answer, text=text, reasoning=thought or "") if thought is not None else answer


def split_thought(text: str, marks: Marks) -> tuple[str, str | None]:
    """(answer, thought). Where the thought is not closed, the answer is empty; without any mark there is no thought."""
    opening, closing = marks
    head, closed, tail = text.partition(closing)
    if closed:
        return tail.strip(), head.replace(opening, "", 1).strip()
    return ("", head.replace(opening, "", 1).strip()) if opening in head else (text, None)
