"""What a version's manifest says of its rows (funnel, profile, leaks), and the example rows that card and report show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from synth_ray.dataset.examples import MAX_CHARACTERS, Examples
from synth_ray.dedup.columns import words16_in
from synth_ray.dedup.index import Index
from synth_ray.prepare.preparation import Prepared
from synth_ray.publish.classes import class_columns, gold_field
from synth_ray.publish.edges import edges_of
from synth_ray.publish.examples import ExampleChooser
from synth_ray.publish.observers import RowObserver
from synth_ray.publish.profiling import ProfileObserver
from synth_ray.publish.row_view import RowView
from synth_ray.publish.teacher_errors import TeacherErrors
from synth_ray.publish.thoughts import ThoughtCounts
from synth_ray.publish.witnesses import Witnesses
from synth_ray.quality.funnel_counts import FunnelCounts
from synth_ray.quality.leaks import SplitKeys, mixed
from synth_ray.quality.profile import REFERENCE
from synth_ray.quality.value_counts import Array, constant
from synth_ray.scrub.scrubber import Scrubber

Row = dict[str, Any]

_REFERENCE_ROWS = 1_000
_DETAIL_CHARACTERS = 2 * MAX_CHARACTERS
"""More than is shown, so that no finding at the cut is shown in part."""


class RowFacts(RowObserver):
    """Counts rows as they are admitted. Law: the facts are a function of the set of rows and their verdicts.

    `index` has the kept rows; `columns` are the declared columns and their types.
    """

    KEEPS = (
        "errors",
        "_funnel",
        "_thoughts",
        "_profile",
        "_lineages",
        "_texts",
        "_examples",
        "_has_real_rows",
        "_witnesses",
    )

    def __init__(self, prepared: Prepared, *, index: Index, columns: Mapping[str, str], witnesses: Witnesses) -> None:
        self._prepared, self._index, self._witnesses = prepared, index, witnesses
        self.errors = TeacherErrors(prepared)
        self._funnel, self._thoughts = FunnelCounts(), ThoughtCounts()
        classes = {*class_columns(prepared), gold_field(prepared), *prepared.job.output.partition_by}
        self._profile = ProfileObserver(columns, classes=classes, tells_languages=bool(prepared.job.check.language))
        self._lineages, self._texts = SplitKeys(), SplitKeys()
        self._examples = ExampleChooser(edges_of(prepared))
        self._has_real_rows = False

    def on_real(self, rows: pa.Table) -> None:
        if not rows.num_rows:
            return
        self._has_real_rows = True
        view = RowView(self._prepared, rows)
        self._count_kept(view, decided="verdict" in rows.column_names)
        self._examples.add(view)

    def on_decided(self, rows: pa.Table) -> None:
        if not rows.num_rows:
            return
        view = RowView(self._prepared, rows)
        recipe = constant(self._prepared.recipe.name, rows.num_rows)
        dimensions = {"split": rows["split"], "class": view.labels, "teacher": view.teachers, "recipe": recipe}
        for dimension, values in dimensions.items():
            self._funnel.add(dimension, values, *view.outcomes)
        self._count_kept(view, decided=True)
        self._profile.add_similarities(view)
        self._examples.add(view)
        self.errors.add(view)
        self._thoughts.add(view)
        self._witnesses.mark(rows["chunk"][0].as_py(), self._index.kept)

    def _count_kept(self, view: RowView, *, decided: bool) -> None:
        accepted = view.accepted
        if not accepted.any():
            return
        self._profile.add(view, view.cells)
        mask, splits = pa.array(accepted), view.splits[accepted]
        self._lineages.add(_lineage_keys(view.table["lineage"].filter(mask)), splits, decided=decided)
        self._texts.add(mixed(words16_in(view.table["digest"].filter(mask))), splits, decided=decided)

    def facts(self, reference: pa.Table) -> dict[str, Any]:
        """The manifest's keys. `reference`: real rows, scrubbed, to set beside the rows of a dataset that has no real ones."""
        if not self._has_real_rows and reference.num_rows:
            view = RowView(self._prepared, reference)
            self._profile.add(view, np.full(reference.num_rows, REFERENCE))
        profile = self._profile.summary()
        if "real" in profile.get("groups", {}):
            profile["real_rows"] = "in the dataset" if self._has_real_rows else f"not in the dataset: {self._source}"
        leaks = max(self._lineages.leaks(), self._texts.leaks())  # a row may be in both
        thoughts = self._thoughts.facts()
        return {"funnel": self._funnel.summary(), "profile": profile, "leaks": leaks, "thoughts": thoughts}

    @property
    def _source(self) -> str:
        return self._prepared.reference.source

    def reference_rows(self) -> pa.Table:
        """Real rows to set beside the dataset's, before scrubbing; none where it has real rows of its own."""
        rows = self._prepared.reference.rows
        if self._has_real_rows or self._prepared.recipe.copies:
            return rows.slice(0, 0)
        return rows.take(pa.array(range(0, rows.num_rows, max(1, -(-rows.num_rows // _REFERENCE_ROWS))), pa.int64()))

    def examples(self, scrubber: Scrubber) -> Examples:
        """The chosen rows, each beside the kept row that it repeats. Details are scrubbed: staged text is already."""
        chosen = self._examples.examples()
        rows = [*chosen.accepted, *(row for rows in chosen.rejected.values() for row in rows), *(e["row"] for e in chosen.edges)]
        details = sorted({detail[:_DETAIL_CHARACTERS] for row in rows if (detail := row["detail"])})
        shown = dict(zip(details, (scrubbed.value for scrubbed in scrubber.records(details)), strict=True))
        witnesses = self._witnesses.find(self._index, {row["witness"] for row in rows if row["witness"]})
        accepted = [_with_detail(row, shown, {}) for row in chosen.accepted]
        rejected = {
            reason: [_with_detail(row, shown, {"witness": None} | _beside(row, witnesses, "witness")) for row in rows]
            for reason, rows in chosen.rejected.items()
        }
        edges = [
            edge | {"row": _with_detail(edge["row"], shown, {}), "beside": None} | _beside(edge["row"], witnesses, "beside")
            for edge in chosen.edges
        ]
        return Examples(accepted, rejected, edges)


def _with_detail(row: Row, details: Mapping[str, str | None], more: Row) -> Row:
    detail = row["detail"]
    own = {name: value for name, value in row.items() if name != "witness"}
    return own | {"detail": details[detail[:_DETAIL_CHARACTERS]] if detail else None} | more


def _beside(row: Row, witnesses: Mapping[str, Row], name: str) -> Row:
    """The witness under this name, or why there is none."""
    if not row["witness"]:
        return {}
    witness = witnesses[row["witness"]]
    if "note" in witness:
        return {name: None, "witness_id": row["witness"], "note": witness["note"]}
    return {name: {key: value for key, value in witness.items() if key != "witness"}}


def _lineage_keys(lineages: pa.ChunkedArray) -> Array:
    """A hash of each lineage, which is a hexadecimal digest."""
    names = lineages.to_pylist()
    return mixed(np.frombuffer(bytes.fromhex("".join(names)), "<u8").reshape(len(names), -1))
