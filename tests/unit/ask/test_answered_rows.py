"""Whatever a recipe puts into a draft, its row can be stored, read and compared."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from synth_ray.ask.rows import rows_by_chunk
from synth_ray.records import Draft, Outcome, Request, Seed

ANY_TEXT = st.text(st.characters(), max_size=8)  # lone surrogates too, as a broken decoder or a JSON escape gives them
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(ANY_TEXT, ANY_JSON, max_size=4), ANY_TEXT)
def test_a_row_holds_no_text_that_arrow_cannot(fields: dict[str, Any], text: str) -> None:
    request = Request("r", 0, 0, Seed("s", "l", "train", {}), 1)
    draft = Draft([{"role": "user", "content": text}], text, fields=fields)
    [answered] = rows_by_chunk([Outcome(request, [draft])])
    read = json.loads(answered.rows["fields"][0].as_py())
    assert len(read) == len(fields)
    pa.array([json.dumps(read, ensure_ascii=False), *read], pa.string())
