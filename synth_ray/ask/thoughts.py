"""Takes the thought of an answer apart from its text, in whichever engine it was made.

Law: what a recipe, a check or a trainer sees as the answer holds no thought; a thought without an end leaves no answer. Engines
that know more than the text (token ids, fields of a reply) have done it before; this is for marks in plain text.
"""

from __future__ import annotations

import re
from dataclasses import replace

from synth_ray.job.reasoning import THINK
from synth_ray.recipes.contract import Completion

Marks = tuple[str, str]

_END_ON_ITS_OWN_LINE = re.compile(rf"^[ \t]*{re.escape(THINK[1])}[ \t]*$", re.MULTILINE)


def thought_apart(answer: Completion, marks: Marks | None) -> Completion:
    """The answer with its thought in `reasoning`. One of which an engine says that it has no tokens of a thought has none.

    Without `marks`, only a text that begins with `<think>` is taken for a thought, or one in which `</think>` has a line of its
    own with no `<think>` before it, as where the prompt began the thought: an answer may speak of such marks.
    """
    if answer.reasoning or answer.reasoning_tokens == 0 or not (marks or _begins_with_thought(answer.text)):
        return answer
    text, thought = split_thought(answer.text, marks or THINK)
    return replace(answer, text=text, reasoning=thought) if thought is not None else answer


def _begins_with_thought(text: str) -> bool:
    if text.lstrip().startswith(THINK[0]):
        return True
    if THINK[1] not in text:  # most have none, and a search takes longer
        return False
    end = _END_ON_ITS_OWN_LINE.search(text)
    return end is not None and THINK[0] not in text[: end.start()]


def split_thought(text: str, marks: Marks, *, opened: bool = False) -> tuple[str, str | None]:
    """(answer, thought), both without space around them. `opened`: the prompt ends in the opening mark.

    A text whose first mark closes a thought began inside one. Several thoughts are one, a blank line between them. Where the last
    is not closed, the answer is empty; without any mark there is no thought (None).
    """
    opening, closing = marks
    if opening not in text and closing not in text:
        return ("", text.strip()) if opened else (text, None)
    first_end, first_start = text.find(closing), text.find(opening)
    inside = opened or (first_end >= 0 and not 0 <= first_start < first_end)
    answers: list[str] = []
    thoughts: list[str] = []
    while True:
        if inside:
            text = text.lstrip().removeprefix(opening)  # the model may open what the prompt opened
        part, found, text = text.partition(closing if inside else opening)
        (thoughts if inside else answers).append(part.strip())
        if not found:
            break
        inside = not inside
    return ("" if inside else _joined(answers)), _joined(thoughts)


def _joined(parts: list[str]) -> str:
    return "\n\n".join(part for part in parts if part)
