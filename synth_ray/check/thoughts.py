"""Checks of what a model thought before its answer: whether it came to an end, loops, or was left in the answer.

Law: as all checks, a function of the row's own columns. A mark inside code or quotes is spoken of, and no mark.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synth_ray.recipes.finish_reasons import LENGTH
from synth_ray.records import texts_of_turns

MARKS = (
    "<think>",
    "</think>",
    "<seed:think>",
    "</seed:think>",
    "[THINK]",
    "[/THINK]",
    "<|channel|>",
    "<|channel>",
    "<channel|>",
    "<|START_THINKING|>",
    "<|END_THINKING|>",
    "<|begin_of_thought|>",
    "<|end_of_thought|>",
    "<|plamo:begin_think:plamo|>",
    "<|plamo:end_think:plamo|>",
    "<|open|>think<|sep|>",
    "<|close|>think<|sep|>",
)
"""What published models write around their thoughts: a text that has one was not taken apart, or the model thought twice."""

_SPOKEN_OF = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|\"[^\"\n]{0,40}\"", re.DOTALL)
_DETAIL = "{} in the thought"


@dataclass(frozen=True, slots=True)
class ThoughtRules:
    """`expected`: rows keep thoughts, so that one without is told. `marks` are the job's own, beside `MARKS`."""

    expected: bool = False
    marks: tuple[str, ...] = ()

    def pattern(self) -> re.Pattern[str]:
        return re.compile("|".join(map(re.escape, self._marks)), re.IGNORECASE)

    def first_characters(self) -> list[str]:
        """The characters that marks begin with: an empty text, which every text has, for one that has a case."""
        return sorted({mark[0] if mark[0].lower() == mark[0].upper() else "" for mark in self._marks})

    @property
    def _marks(self) -> list[str]:
        return sorted({*MARKS, *(mark for mark in self.marks if mark.strip())})


def have_mark(texts: Sequence[str], rules: ThoughtRules) -> list[bool]:
    """`has_mark` of each text; a text without a character that a mark begins with is not searched."""
    pattern, first = rules.pattern(), rules.first_characters()
    return [any(character in text for character in first) and has_mark(text, pattern) for text in texts]


def has_mark(text: str, pattern: re.Pattern[str]) -> bool:
    """Whether a mark of a thought is in the text, and is not only spoken of."""
    return pattern.search(text) is not None and pattern.search(_SPOKEN_OF.sub(" ", text)) is not None


def thoughts_in(staged: pa.Table) -> list[str]:
    """The thought of each row's answer, without that of earlier turns; empty where there is none."""
    return [text.strip() for text in pc.fill_null(staged["reasoning"], "").to_pylist()]


def earlier_thoughts(staged: pa.Table) -> list[list[str]]:
    """The thoughts of each row's turns before its answer."""
    turns = pc.list_flatten(staged["messages"])
    if turns.type.get_field_index("reasoning") < 0 or pc.struct_field(turns, "reasoning").null_count == len(turns):
        return [[] for _ in range(staged.num_rows)]
    return [
        [thought for thought in thoughts[:-1] if thought and thought.strip()]
        for thoughts in texts_of_turns(staged["messages"], "reasoning")
    ]


def cut_thoughts(staged: pa.Table, thoughts: Sequence[str], empty: np.ndarray) -> np.ndarray:
    """Rows whose token limit came before the answer: there is a thought, or its tokens were counted, and no answer.

    A model that ended by itself without an answer was not cut: its row has an empty completion.
    """
    counted = np.asarray(pc.fill_null(pc.greater(staged["reasoning_tokens"], 0), False))
    thought = np.asarray([bool(text) for text in thoughts], bool) | counted
    cut: np.ndarray = np.asarray(pc.equal(staged["finish_reason"], LENGTH), bool) & thought & empty
    return cut


def explained(staged: pa.Table, found: dict[str, np.ndarray]) -> pa.Table:
    """The rows with a detail where a flag was raised by the thought alone. `found`: those rows, by flag."""
    if staged["detail"].null_count == staged.num_rows and not any(rows.any() for rows in found.values()):
        return staged
    ours = {_DETAIL.format(flag) for flag in found}
    details = [None if detail in ours else detail for detail in staged["detail"].to_pylist()]
    for flag, rows in found.items():
        for row in np.flatnonzero(rows).tolist():
            details[row] = details[row] or _DETAIL.format(flag)
    at = staged.schema.get_field_index("detail")
    return staged.set_column(at, staged.schema.field(at), pa.array(details, pa.string()))
