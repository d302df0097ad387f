"""What thinking took, and what came of it: rows with a thought, rows cut off in one, and the tokens of both outcomes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synth_ray.publish.row_view import RowView, numbers_of
from synth_ray.quality.value_counts import Array
from synth_ray.records import Origin, Reason


class ThoughtCounts:
    """Counts decided rows. Law: the facts depend on the set of rows and their verdicts alone. Real rows cost no tokens."""

    def __init__(self) -> None:
        self._rows = self._answered = self._cut = 0
        self._tokens = {"accepted": 0, "not_accepted": 0}

    def add(self, view: RowView) -> None:
        rows = view.table
        synthetic = np.asarray(pc.equal(rows["origin"], Origin.SYNTHETIC.value))
        tokens = np.nan_to_num(numbers_of(rows, "reasoning_tokens"))
        thought = synthetic & (np.asarray(pc.is_valid(rows["reasoning"])) | (tokens > 0))
        answered = np.asarray(pc.greater(pc.binary_length(pc.fill_null(rows["completion"], "")), 0))
        self._answered += int((synthetic & (answered | thought | _cut(rows))).sum())
        self._rows += int(thought.sum())
        self._cut += int((synthetic & _cut(rows)).sum())
        for name, chosen in (("accepted", view.accepted), ("not_accepted", ~view.accepted)):
            self._tokens[name] += int(tokens[synthetic & chosen].sum())

    def facts(self) -> dict[str, Any]:
        """The manifest's `thoughts`; empty where nobody thought."""
        if not self._rows and not self._cut:
            return {}
        return {"answers": self._answered, "with_thought": self._rows, "cut": self._cut, "tokens": dict(self._tokens)}


def _cut(rows: pa.Table) -> Array:
    """A mask of the rows that were cut off in their thought, whether or not that rejects them."""
    flags = pc.fill_null(pc.binary_join(rows["flags"], ","), "")
    by_check = pc.match_substring(flags, Reason.TRUNCATED_THOUGHT.value)
    by_ask = pc.fill_null(pc.equal(rows["reason"], Reason.TRUNCATED_THOUGHT.value), False)
    mask: Array = np.asarray(pc.or_(by_check, by_ask))
    return mask
