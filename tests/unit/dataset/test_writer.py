from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synth_ray.dataset.row_digest import digests_and_sizes
from synth_ray.dataset.schema import RowShape
from synth_ray.dataset.writer import DatasetWriter, Written
from synth_ray.errors import JobError
from synth_ray.job.output import Output
from synth_ray.records import STAGED
from synth_ray.storage import Storage, open_storage
from tests.published import PROVENANCE, shape_of
from tests.rows import staged_chunk, staged_row

CLOSED = {"label": ["a", "b?/ä"]}


def rows(count: int, **changes: Any) -> pa.Table:
    return staged_chunk(0, count, **changes)


def write(place: str, table: pa.Table, *, cuts: list[int], **output: Any) -> Written:
    options = Output(path=place, **output)
    with DatasetWriter(open_storage(place), shape_of(options), options) as writer:
        for start, end in pairwise([0, *cuts, table.num_rows]):
            writer.write("train", table.slice(start, end - start))
            writer.reject(table.slice(start, end - start))
        return writer.finish()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(0, 60),
    cuts=st.lists(st.integers(0, 60), max_size=4),
    part_rows=st.integers(1, 40),
    group_rows=st.integers(1, 40),
    part_bytes=st.integers(1024, 12_000),
)
def test_files_depend_on_the_rows_and_not_on_the_batches(
    tmp_path_factory: pytest.TempPathFactory,
    count: int,
    cuts: list[int],
    part_rows: int,
    group_rows: int,
    part_bytes: int,
) -> None:
    place = str(tmp_path_factory.mktemp("out"))
    limits = {"part_rows": part_rows, "row_group_rows": group_rows, "part_bytes": part_bytes, "partition_by": CLOSED}
    table = rows(count)
    uncut = write(place, table, cuts=[], **limits)
    in_batches = write(place, table, cuts=sorted(min(c, count) for c in cuts), **limits)
    assert in_batches == uncut
    assert sum(file.rows for file in uncut.files) == sum(uncut.splits.values()) == count
    for file in uncut.files:
        assert file.rows <= part_rows
        assert pq.ParquetFile(f"{place}/{file.path}").metadata.num_rows == file.rows


def test_the_dataset_digest_depends_on_rows_and_order_and_not_on_files(tmp_path: Any) -> None:
    table = rows(30)
    first = write(str(tmp_path / "1"), table, cuts=[])
    other_files = write(str(tmp_path / "2"), table, cuts=[], part_rows=7, row_group_rows=3, compression="none")
    assert len(other_files.files) > len(first.files)
    assert other_files.dataset_digest == first.dataset_digest
    reordered = table.take(list(range(29, -1, -1)))
    assert write(str(tmp_path / "3"), reordered, cuts=[]).dataset_digest != first.dataset_digest
    assert write(str(tmp_path / "4"), table.slice(1), cuts=[]).dataset_digest != first.dataset_digest


def test_a_part_has_small_row_groups_a_page_index_and_its_digest_in_its_name(store: Storage) -> None:
    options = Output(path="unused", row_group_rows=10, part_rows=25)
    with DatasetWriter(store, shape_of(options), options) as writer:
        writer.write("train", rows(60))
        written = writer.finish()
    assert [file.rows for file in written.files] == [25, 25, 10]
    for number, file in enumerate(written.files):
        assert file.path == f"data/split=train/part-{number:05d}-{file.sha256[:8]}.parquet"
        with store.open_input(file.path) as opened:
            metadata = pq.ParquetFile(opened).metadata
        groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
        assert [g.num_rows for g in groups] == ([10, 10, 5] if file.rows == 25 else [10])
        assert groups[0].column(0).has_column_index
        assert groups[0].column(0).compression == "ZSTD"


def test_rows_are_written_in_order_to_declared_partitions_and_no_others(store: Storage) -> None:
    labels = ["a", "b?/ä", "x@y.example", None, "a"]
    table = pa.Table.from_pylist(
        [staged_row(n, fields=json.dumps({"label": label, "n": n})) for n, label in enumerate(labels)], schema=STAGED
    )
    options = Output(path="unused", partition_by=CLOSED)
    with DatasetWriter(store, shape_of(options), options) as writer:
        writer.write("train", table)
        files = writer.finish().files
    folders = [file.path.split("/")[2] for file in files]
    assert folders == ["label=a", "label=b%3F%2F%C3%A4", "label=__HIVE_DEFAULT_PARTITION__"]
    with store.open_input(files[2].path) as opened:
        undeclared = pq.ParquetFile(opened).read().to_pylist()
    assert [row["label"] for row in undeclared] == [None, None]
    assert json.loads(undeclared[0]["fields"]) == {"label": "x@y.example", "n": 2}


def test_a_writer_that_breaks_leaves_no_part(store: Storage) -> None:
    options = Output(path="unused", row_group_rows=4)
    with pytest.raises(KeyError), DatasetWriter(store, shape_of(options), options) as writer:
        writer.write("train", rows(10))
        raise KeyError
    assert list(store.list()) == []


def test_an_existing_part_is_not_uploaded_again(store: Storage) -> None:
    options = Output(path="unused")

    def write_part() -> dict[str, float]:
        with DatasetWriter(store, shape_of(options), options) as writer:
            writer.write("train", rows(10))
            writer.finish()
        return {entry.path: entry.modified for entry in store.list("data/")}

    assert write_part() == write_part()


def test_values_of_the_declared_type_become_columns_and_others_stay_in_fields() -> None:
    kinds = {"s": "string", "i": "int", "f": "float", "b": "bool", "l": "strings", "j": "json"}
    shape = RowShape(PROVENANCE, kinds)
    fits = {"s": "x", "i": 3, "f": 2, "b": False, "l": ["p"], "j": {"k": [1]}}
    misfits = {"s": 1, "i": True, "f": float("1e400"), "b": 0, "l": ["p", 1], "j": None, "more": 5}
    staged = pa.Table.from_pylist(
        [staged_row(0, fields=json.dumps(fits)), staged_row(1, fields=json.dumps(misfits))], schema=STAGED
    )
    fitting, misfitting = shape.accepted(staged).to_pylist()
    assert {name: fitting[name] for name in kinds} == {**fits, "f": 2.0, "j": '{"k":[1]}'}
    assert json.loads(fitting["fields"]) == {}
    assert [misfitting[name] for name in kinds] == [None] * 6
    assert json.loads(misfitting["fields"]) == misfits


def test_a_column_may_not_have_the_name_of_a_dataset_column() -> None:
    with pytest.raises(JobError, match="completion"):
        RowShape(PROVENANCE, {"completion": "string"})
    with pytest.raises(JobError, match="partition_by"):
        RowShape(PROVENANCE, {"n": "int"}, {"n": ["1"]})


def test_real_rows_have_no_teacher_and_rejected_rows_have_a_reason() -> None:
    staged = rows(2, origin="real", depth=0, reason="echo", detail="why")
    shape = RowShape(PROVENANCE)
    assert shape.accepted(staged)["teacher"].to_pylist() == [None, None]
    rejected = shape.rejected(staged.append_column("verdict", pa.array(["rejected"] * 2))).to_pylist()[0]
    assert (rejected["verdict"], rejected["reason"], rejected["detail"], rejected["similarity"]) == (
        "rejected",
        "echo",
        "why",
        None,
    )
    assert shape.accepted(staged.schema.empty_table()).num_rows == 0


LEAVES = st.one_of(st.none(), st.text(max_size=4), st.sampled_from(["-", "1:-", "", "[", "2:"]))
ROW = st.fixed_dictionaries(
    {
        "a": LEAVES,
        "b": LEAVES,
        "n": st.one_of(st.none(), st.integers(-5, 5)),
        "l": st.one_of(st.none(), st.lists(LEAVES, max_size=3)),
        "m": st.one_of(st.none(), st.lists(st.fixed_dictionaries({"role": LEAVES, "content": LEAVES}), max_size=2)),
    }
)
SCHEMA = pa.schema(
    [
        ("a", pa.string()),
        ("b", pa.string()),
        ("n", pa.int32()),
        ("l", pa.list_(pa.string())),
        ("m", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
    ]
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ROW, max_size=6), st.integers(0, 6))
def test_two_rows_have_the_same_digest_if_and_only_if_they_are_equal(values: list[dict[str, Any]], start: int) -> None:
    table = pa.Table.from_pylist(values, schema=SCHEMA)
    digests, sizes = digests_and_sizes(table)
    assert len(digests) == len(sizes) == len(values)
    for row, digest in zip(values, digests, strict=True):
        for other, other_digest in zip(values, digests, strict=True):
            assert (digest == other_digest) == (row == other)
    assert digests_and_sizes(table.slice(start))[0] == digests[start:]
