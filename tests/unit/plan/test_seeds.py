from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from synth_ray.errors import JobError
from synth_ray.job.seeds import Source
from synth_ray.plan.seed_store import SeedStore
from synth_ray.plan.seeds import RejectedSeed, read_seeds
from synth_ray.records import Seed


def read(data: bytes, name: str = "s.jsonl", **source: Any) -> list[Seed | RejectedSeed]:
    section = Source(path=name, **source)
    return list(read_seeds(section, paths=[name], open_file=lambda _: io.BytesIO(data), seen=set()))


def reasons(rows: list[Seed | RejectedSeed]) -> list[str]:
    return [row.reason.value if isinstance(row, RejectedSeed) else "seed" for row in rows]


def test_every_kind_of_bad_row_is_rejected_with_its_file_and_line() -> None:
    rows = [
        b'{"prompt": "good"}',
        b'{"prompt": "broken',
        b'{"other": 1}',
        b'{"prompt": 7}',
        b'{"prompt": "  "}',
        b'{"prompt": "\xff\xfe"}',
        b"",
        b'{"prompt": "good"}',
        b"[1, 2]",
    ]
    results = read(b"\xef\xbb\xbf" + b"\r\n".join(rows))
    assert reasons(results) == [
        "seed", "broken_json", "missing_field", "wrong_type", "empty_seed", "invalid_utf8", "duplicate_seed", "wrong_type",
    ]  # fmt: skip
    assert [row.line for row in results] == [1, 2, 3, 4, 5, 6, 8, 9]
    assert all("good" not in str(row) for row in results if isinstance(row, RejectedSeed))


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.dictionaries(st.sampled_from(["prompt", "x"]), st.text()).map(lambda row: json.dumps(row).encode()),
        ),
        max_size=20,
    )
)
def test_every_line_of_any_bytes_is_a_seed_or_a_rejected_seed(lines: list[bytes]) -> None:
    lines = [b"{}", *(line.replace(b"\n", b"") for line in lines)]  # a first line that is no mark of an encoding or a codec
    results = read(b"\n".join(lines))
    assert len(results) == sum(bool(line.strip()) for line in lines)
    assert all(isinstance(row, (Seed, RejectedSeed)) for row in results)


@given(st.binary(max_size=200))
@example(b'"')
def test_no_bytes_crash_a_csv_or_a_json_reader(data: bytes) -> None:
    for name in ("s.csv", "s.json", "s.parquet"):
        try:
            read(data, name)
        except JobError as error:
            assert "wanted" in str(error)


def test_a_json_array_is_read_element_by_element_and_a_broken_end_is_one_bad_row() -> None:
    rows = [{"prompt": f"p{i}" * 50_000} for i in range(30)]
    assert reasons(read(json.dumps(rows, indent=1).encode(), "s.json")) == ["seed"] * 30
    assert reasons(read(b'[{"prompt": "a"}, {"prompt": "b"', "s.json")) == ["seed", "broken_json"]


def test_csv_cells_may_contain_newlines_and_line_numbers_are_physical() -> None:
    rows = read(b'text,category\n"two\nlines",a\nshort\nplain,b\n', "s.csv")
    assert reasons(rows) == ["seed", "wrong_type", "seed"]
    assert [row.line for row in rows] == [2, 4, 5]
    assert rows[0].fields == {"prompt": "two\nlines", "category": "a"}  # type: ignore[union-attr]


def test_parquet_rows_are_seeds(tmp_path: Path) -> None:
    pq.write_table(pa.table({"question": ["a?", None], "n": [1, 2]}), tmp_path / "s.parquet")
    rows = read((tmp_path / "s.parquet").read_bytes(), "s.parquet", fields={"prompt": "question"})
    assert reasons(rows) == ["seed", "missing_field"]


@pytest.mark.parametrize(
    ("row", "fields"),
    [
        ({"instruction": "Do", "input": "this", "output": "done"}, {"prompt": "Do\n\nthis", "answer": "done"}),
        ({"instruction": "Do", "input": "", "response": "done"}, {"prompt": "Do", "answer": "done"}),
        (
            {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "ho"}]},
            {"prompt": "hi", "answer": "ho", "messages": [{"role": "user", "content": "hi"}]},
        ),
        (
            {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}], "id": 3},
            {
                "prompt": "u",
                "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}],
                "id": 3,
            },
        ),
        ({"question": "q", "answer": "a", "level": 2}, {"prompt": "q", "answer": "a", "level": 2}),
    ],
)
def test_known_shapes_are_recognised(row: dict[str, Any], fields: dict[str, Any]) -> None:
    [seed] = read(json.dumps(row).encode())
    assert isinstance(seed, Seed)
    assert seed.fields == fields


def test_a_mapping_reaches_into_nested_rows_and_names_what_is_missing() -> None:
    row = {"instruction": "x", "instances": [{"input": "", "output": "y"}]}
    [seed] = read(json.dumps(row).encode(), fields={"prompt": "instruction", "answer": "instances.0.output"})
    assert isinstance(seed, Seed)
    assert seed.fields == {"prompt": "x", "answer": "y"}
    [bad] = read(json.dumps(row).encode(), fields={"prompt": "instances.1.output"})
    assert isinstance(bad, RejectedSeed)
    assert "instances.1.output" in bad.detail


def test_synthetic_rows_keep_their_depth_and_deep_ones_are_rejected() -> None:
    rows = [{"prompt": f"p{d}", "origin": "synthetic", "depth": d} for d in (1, 2, 3)]
    data = "\n".join(map(json.dumps, rows)).encode()
    assert reasons(read(data)) == ["seed", "too_deep", "too_deep"]
    assert reasons(read(data, allow_depth=2)) == ["seed", "seed", "too_deep"]


def test_prompts_equal_up_to_case_and_spacing_share_a_lineage_unless_a_group_field_is_named() -> None:
    first, second = read(b'{"prompt": "How  Much?", "g": 1}\n{"prompt": "how much?", "g": 2}')
    assert first.lineage == second.lineage  # type: ignore[union-attr]
    first, second = read(b'{"prompt": "How  Much?", "g": 1}\n{"prompt": "how much?", "g": 2}', lineage="g")
    assert first.lineage != second.lineage  # type: ignore[union-attr]


def test_ids_depend_on_content_and_not_on_file_or_line() -> None:
    [a] = read(b'{"prompt": "p", "x": 1}', "a.jsonl")
    [_, b] = read(b'{"prompt": "other"}\n{"x": 1, "prompt": "p"}', "b.jsonl")
    assert isinstance(a, Seed)
    assert isinstance(b, Seed)
    assert a.id == b.id


def test_a_limit_ends_the_source_and_a_seed_store_reads_back_its_seeds(tmp_path: Path) -> None:
    data = b"\n".join(json.dumps({"prompt": f"p{i}", "n": {"deep": [i]}}).encode() for i in range(9000))
    seeds = [row for row in read(data, limit=8500) if isinstance(row, Seed)]
    store = SeedStore.write(tmp_path, seeds)
    assert len(store) == 8500
    assert [store[i] for i in (0, 4095, 4096, 8499)] == [seeds[i] for i in (0, 4095, 4096, 8499)]
    assert Counter(store.splits) == Counter({0: 8500})


@pytest.mark.parametrize(("name", "data"), [("s.txt", b""), ("s.csv", b""), ("s.json", b"7"), ("s.parquet", b"no")])
def test_a_file_of_the_wrong_format_is_an_error_that_says_what_was_wanted(name: str, data: bytes) -> None:
    with pytest.raises(JobError, match="wanted"):
        read(data, name)
