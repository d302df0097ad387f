"""Rows that a glance leaves out have nothing to find: a table is scrubbed as if every row were scanned."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_ray.job.scrub import Scrub
from synth_ray.records import STAGED
from synth_ray.scrub.opening import SELF_TEST_TEXTS
from synth_ray.scrub.scrubber import Scrubber, open_scrubber
from synth_ray.scrub.staged import scrubbed_table

PIECES = st.one_of(
    st.text(max_size=6),
    st.sampled_from(
        [*SELF_TEST_TEXTS.values(), " ", "\n", "hello", "536904399", "\\n", "jane＠mail.com", "٤١٥-555-0132", "@", "pin", "K"]
    ),
)
TEXTS = st.builds("".join, st.lists(PIECES, max_size=4)).map(lambda text: text.encode("utf-8", "replace").decode())
FIELDS = st.one_of(
    st.none(), st.just("{}"), TEXTS, st.dictionaries(st.sampled_from(["ssn", "label", "n"]), TEXTS).map(json.dumps)
)
ROWS = st.tuples(st.lists(TEXTS, max_size=2), TEXTS, TEXTS, st.one_of(st.none(), TEXTS), FIELDS)
SCRUBBER = open_scrubber(Scrub(max_findings=2, deny={"PROJECT": ["hello"]}))


@settings(max_examples=120, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=5))
def test_a_table_is_scrubbed_as_if_every_row_were_scanned(rows: list[tuple[list[str], str, str, str | None, str | None]]) -> None:
    table = _table(rows)
    assert SCRUBBER.scrub_rows(table).equals(_scanned_whole(SCRUBBER, table))


def _scanned_whole(scrubber: Scrubber, table: pa.Table) -> pa.Table:
    scrub_all = scrubber._fixpoint.scrub_all
    return scrubbed_table(table, np.arange(table.num_rows), scrub_all=scrub_all, exceeds_limit=scrubber._exceeds_limit)


def _table(rows: list[tuple[list[str], str, str, str | None, str | None]]) -> pa.Table:
    names = ("prompt", "completion", "reasoning", "fields")
    columns: dict[str, list[object]] = {name: [row[place] for row in rows] for place, name in enumerate(names, start=1)}
    columns["messages"] = [[{"role": "user", "content": text, "reasoning": None} for text in row[0]] for row in rows]
    columns["id"] = [str(n) for n in range(len(rows))]
    return pa.table([pa.array(columns.get(f.name, [None] * len(rows)), f.type) for f in STAGED], schema=STAGED)
