"""Laws of the readers: any bytes and any values are rows of plain values, bad rows, or a JobError. Nothing is lost in silence."""

from __future__ import annotations

import codecs
import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from synth_ray.errors import JobError
from synth_ray.job.seeds import Source
from synth_ray.plan.arrow_values import values_of
from synth_ray.plan.plain import BadRow, Row, plain_row
from synth_ray.plan.rows import pieces_of
from synth_ray.plan.seeds import RejectedSeed, read_seeds
from synth_ray.records import Seed

DEEP = b'{"prompt": "p", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
ODD_NUMBERS = ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 5000, "-" + "9" * 40, str(2**63), str(2**64)]


def rows(data: bytes, name: str, **more: Any) -> list[Row | BadRow]:
    kind = {"tsv": "csv", "gz": "jsonl"}.get(ending := name.rsplit(".", 1)[-1], ending)

    def read(**sizes: int) -> list[Row | BadRow]:
        pieces = pieces_of(io.BytesIO(data), kind=kind, path=name, **more, **sizes)
        return [row for piece in pieces for row in piece.rows()]

    found = read()
    assert found == read(piece_bytes=7, piece_rows=1)
    for row in found:
        if isinstance(row, Row):
            json.dumps(row.value, allow_nan=False, ensure_ascii=False).encode()
    return found


def told(found: list[Row | BadRow], instead: Any = None) -> list[Any]:
    return [row.reason.value if isinstance(row, BadRow) else instead or row.value for row in found]


def seeds(data: bytes, path: str, **source: Any) -> list[Seed | RejectedSeed]:
    return list(read_seeds(Source(path=path, **source), paths=[path], open_file=lambda _: io.BytesIO(data), seen=set()))


# Arrow: arrays of any type, made of any bits.

_int64 = st.integers(-(2**63), 2**63 - 1)
_units = ["s", "ms", "us", "ns"]
_wide = [pa.int64(), pa.uint64(), pa.float64(), pa.date64(), pa.time64("us"), pa.time64("ns"), pa.decimal64(18, 3)]
_wide += [pa.timestamp(unit, zone) for unit in _units for zone in (None, "UTC", "Europe/Berlin", "Nowhere/Town")]
_wide += [pa.duration(unit) for unit in _units]
_narrow = [pa.int32(), pa.uint32(), pa.float32(), pa.date32(), pa.time32("s"), pa.time32("ms")]
_others = [pa.null(), pa.bool_(), pa.float16(), pa.decimal128(38, 9), pa.uuid()]
_texts = [pa.binary(), pa.large_binary(), pa.string(), pa.large_string(), pa.binary_view()]


@st.composite
def leaves(draw: st.DrawFn, size: int) -> pa.Array:
    holes = st.none() | _int64
    kind = draw(st.sampled_from([*_wide, *_narrow, *_texts, *_others]))
    if kind in _wide:
        return pa.array(draw(st.lists(holes, min_size=size, max_size=size)), pa.int64()).view(kind)
    if kind in _narrow:
        small = st.none() | st.integers(-(2**31), 2**31 - 1)
        return pa.array(draw(st.lists(small, min_size=size, max_size=size)), pa.int32()).view(kind)
    if kind in _texts:
        wide = pa.large_binary() if kind in (pa.large_binary(), pa.large_string()) else pa.binary()
        data = pa.array(draw(st.lists(st.none() | st.binary(max_size=6), min_size=size, max_size=size)), wide)
        return data.cast(kind) if kind == pa.binary_view() else data.view(kind)
    if kind == pa.uuid():
        ids = draw(st.lists(st.binary(min_size=16, max_size=16), min_size=size, max_size=size))
        return pa.ExtensionArray.from_storage(kind, pa.array(ids, pa.binary(16)))
    values = st.lists(st.none() | st.integers(0, 1), min_size=size, max_size=size)
    return pa.array(draw(values), pa.int8()).cast(kind) if kind != pa.null() else pa.nulls(size)


@st.composite
def arrays(draw: st.DrawFn, size: int, levels: int = 2) -> pa.Array:
    how = draw(st.sampled_from(["leaf", "list", "fixed", "struct", "map", "dictionary"] if levels else ["leaf"]))
    if how == "leaf":
        return draw(leaves(size))
    if how == "dictionary":
        indices = st.lists(st.none() | st.integers(0, 1), min_size=size, max_size=size)
        return pa.DictionaryArray.from_arrays(pa.array(draw(indices), pa.int32()), draw(leaves(2)))
    if how == "fixed":
        return pa.FixedSizeListArray.from_arrays(draw(arrays(2 * size, levels - 1)), 2)
    if how == "struct":
        fields = [draw(arrays(size, levels - 1)) for _ in range(2)]
        return pa.StructArray.from_arrays(fields, draw(st.sampled_from([["a", "b"], ["a", "a"]])))
    lengths = draw(st.lists(st.integers(0, 2), min_size=size, max_size=size))
    offsets = pa.array([sum(lengths[:i]) for i in range(size + 1)], pa.int32())
    items = draw(arrays(sum(lengths), levels - 1))
    if how == "list":
        return pa.ListArray.from_arrays(offsets, items)
    keys = draw(leaves(sum(lengths)))
    assume(keys.null_count == 0)
    return pa.MapArray.from_arrays(offsets, keys, items)


@settings(max_examples=200)
@given(st.data())
def test_every_element_of_any_arrow_array_is_a_plain_value_or_rejects_its_row(data: st.DataObject) -> None:
    size = data.draw(st.integers(0, 4))
    array = data.draw(arrays(size))
    values = values_of(array)
    assert len(values) == size == len(array)
    assert repr(values_of(array[1:])) == repr(values[1:])  # NaN is not equal to itself
    for value, item in zip(values, array, strict=True):
        row = plain_row(1, {"x": value})
        assert isinstance(row, BadRow) or json.dumps(row.value, allow_nan=False)
        assert item.is_valid or value is None


@given(st.data())
def test_every_row_of_any_parquet_file_is_a_seed_or_a_rejected_seed(data: st.DataObject) -> None:
    size = data.draw(st.integers(0, 4))
    columns = {f"x{i}": data.draw(leaves(size)) for i in range(2)}
    columns["both"] = pa.StructArray.from_arrays(list(columns.values()), list(columns))
    columns["list"] = pa.ListArray.from_arrays(pa.array(range(size + 1), pa.int32()), columns["both"])
    table, buffer = pa.table({"prompt": [f"p{i}" for i in range(size)], **columns}), io.BytesIO()
    try:
        pq.write_table(table, buffer)
    except (pa.ArrowException, OverflowError):
        return  # Parquet has no such type
    found = seeds(buffer.getvalue(), "s.parquet")
    assert [row.line for row in found] == list(range(1, size + 1))
    assert set(told(rows(buffer.getvalue(), "s.parquet"), "seed")) <= {"seed", "invalid_utf8"}


def test_values_have_one_form_in_every_year_and_unit() -> None:
    def shown(values: list[Any], kind: pa.DataType) -> list[Any]:
        return values_of(pa.array(values, pa.int32() if kind.bit_width == 32 else pa.int64()).view(kind))

    assert shown([0, 253402300800, -62135596801, None], pa.timestamp("s")) == [
        "1970-01-01T00:00:00", "10000-01-01T00:00:00", "0000-12-31T23:59:59", None,
    ]  # fmt: skip
    assert shown([1], pa.timestamp("ns", "Asia/Tokyo")) == ["1970-01-01T00:00:00.000000001+00:00"]
    assert shown([-1, 2932897], pa.date32()) == ["1969-12-31", "10000-01-01"]
    assert shown([3_723_500_000], pa.time64("us")) == ["01:02:03.5"]
    assert shown([-1500], pa.duration("ms")) == ["PT-1.5S"]
    maps = pa.array([[("a", 1)], [("a", 1), ("a", 2)]], pa.map_(pa.string(), pa.int8()))
    assert values_of(maps) == [{"a": 1}, [["a", 1], ["a", 2]]]


def test_one_text_that_is_not_utf8_costs_its_row_alone(tmp_path: Path) -> None:
    texts = pa.array([b"first", b"sec\xffond", b"third"]).view(pa.string())
    pq.write_table(
        pa.table({"prompt": texts, "tags": pa.ListArray.from_arrays([0, 1, 1, 2], pa.array(["a", "b"]))}), tmp_path / "s"
    )
    assert told(rows((tmp_path / "s").read_bytes(), "s.parquet")) == [
        {"prompt": "first", "tags": ["a"]}, "invalid_utf8", {"prompt": "third", "tags": ["b"]},
    ]  # fmt: skip


def test_a_mapping_reads_its_columns_alone(tmp_path: Path) -> None:
    table = {"q": ["a?", "b?"], "image": [b"\xff\xd8", b"\xff\xd9"], "meta": [{"x": 1, "a": "yes"}] * 2, "g.h": ["1", "2"]}
    pq.write_table(pa.table(table), tmp_path / "s")
    data = (tmp_path / "s").read_bytes()
    assert {row.reason.value for row in seeds(data, "s.parquet") if isinstance(row, RejectedSeed)} == {"invalid_utf8"}
    fields = {"prompt": "q", "answer": "meta.a", "group": "g.h"}
    assert [row.fields for row in seeds(data, "s.parquet", fields=fields) if isinstance(row, Seed)] == [
        {"prompt": "a?", "answer": "yes", "group": "1"}, {"prompt": "b?", "answer": "yes", "group": "2"},
    ]  # fmt: skip


def test_a_page_that_breaks_in_the_middle_names_file_and_row_group(tmp_path: Path) -> None:
    table = pa.table({"prompt": [f"question number {i * 7919 % 10_007}" for i in range(4000)]})
    pq.write_table(table, tmp_path / "s", row_group_size=1000, use_dictionary=False, compression="zstd", write_page_checksum=True)
    data = bytearray((tmp_path / "s").read_bytes())
    column = pq.ParquetFile(tmp_path / "s").metadata.row_group(2).column(0)
    middle = column.data_page_offset + column.total_compressed_size // 2
    for i in range(middle, middle + 20):
        data[i] ^= 0xFF
    read = (row for piece in pieces_of(io.BytesIO(data), kind="parquet", path="s.parquet") for row in piece.rows())
    with pytest.raises(JobError, match=r"s\.parquet: .*row group 2 \(of 4"):
        list(read)


# JSON.

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=[])) | st.just(10**30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(st.lists(_json, max_size=6), st.sampled_from([None, 1]))
def test_every_json_value_is_one_row_in_each_layout(values: list[Any], indent: int | None) -> None:
    objects = [{"x": value} for value in values]
    for items in ([None, *values], objects):  # not a first line that begins an array of objects
        array = json.dumps(items, indent=indent).encode()
        by_line = told(rows("\n".join(map(json.dumps, items)).encode(), "s.jsonl"))
        assert len(by_line) == len(items)
        assert told(rows(array, "s.json")) == by_line
        assert told(rows(array + b"\n" + array, "s.json")) == by_line * 2
    bare = "\n".join(json.dumps(item, indent=indent) for item in objects).encode()
    assert told(rows(bare, "s.json")) == by_line


@pytest.mark.parametrize("number", ODD_NUMBERS)
def test_a_number_that_is_not_one_of_64_bits_is_null_or_text(number: str) -> None:
    line = f'{{"prompt": "p", "x": [{number}]}}'.encode()
    for name in ("s.jsonl", "s.json"):
        [row] = told(rows(line, name))
        [x] = row["x"]
        assert x == (int(number) if number == str(2**63) else None if not number.strip("-").isdigit() else number)


def test_repeated_keys_deep_nesting_and_lone_surrogates_cost_their_row_alone() -> None:
    bad = [
        b'{"a": 1, "a": 2}',
        b'{"b": [{"a": 1, "c": 2, "a": 3}]}',
        DEEP,
        b'{"a": "\\ud83d"}',
        b'{"\\udc00": 1}',
        b'{"a": "\xff"}',
    ]
    wanted = ["broken_json"] * 3 + ["invalid_utf8"] * 3
    good, after = b'{"a": "\\ud83d\\ude00"}', {"a": "😀"}
    assert told(rows(b"\n".join([*bad, good]), "s.jsonl")) == [*wanted, after]
    assert told(rows(b"[" + b", ".join([*bad, good]) + b"]", "s.json")) == [*wanted, after]
    [row] = rows(bad[1], "s.jsonl")
    assert isinstance(row, BadRow)
    assert row.detail == "an object of 3 keys, 1 of them repeated"


def test_files_appended_to_each_other_with_their_byte_order_marks_are_one() -> None:
    one, two = [codecs.BOM_UTF8 + f'{{"a": {i}}}\n'.encode() for i in (1, 2)]
    for name in ("s.jsonl", "s.json"):
        assert told(rows(one + two, name)) == [{"a": 1}, {"a": 2}]


def test_what_follows_an_array_is_read_or_told() -> None:
    assert told(rows(b'[{"a": 1}]\n[{"a": 2}]{"a": 3},{"a": 4}', "s.json")) == [{"a": i} for i in (1, 2, 3, 4)]
    assert told(rows(b'[{"a": 1}] and more', "s.json")) == [{"a": 1}, "broken_json"]
    assert told(rows(b'[{"a": 1}] ] \n{"a": 2}', "s.json")) == [{"a": 1}, "broken_json", {"a": 2}]
    assert told(rows(b'[{"a": 1,}, {"a": oops}, {"a": [}, {"a": 4}]', "s.json"))[:2] == ["broken_json"] * 2
    assert told(rows(b'[{"a": 1,}, {"a": 2}]', "s.json")) == ["broken_json", {"a": 2}]
    assert told(rows(b'{"a": 1}\n{"a": "un\n{"a": 3}\n', "s.json")) == [{"a": 1}, "broken_json", {"a": 3}]
    assert told(rows(b'[{"a": 1},', "s.json")) == [{"a": 1}, "broken_json"]


def test_a_long_array_with_a_broken_element_is_read_to_its_end() -> None:
    elements = [json.dumps({"a": f"{i}" * 30}) for i in range(60_000)]
    elements[100] = '{"a": [1, 2,]}'
    found = told(rows(f"[{','.join(elements)}]".encode(), "s.json"))
    assert len(found) == 60_000
    assert [i for i, row in enumerate(found) if row == "broken_json"] == [100]


# CSV.


@given(
    st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2, max_size=2), max_size=5),
    st.sampled_from(",;\t|"),
)
def test_every_csv_that_is_written_by_the_rules_is_read_back(cells: list[list[str]], delimiter: str) -> None:
    cells = [[cell.replace("\0", "") for cell in row] for row in cells]
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([["a", "b"], *cells])
    found = rows(text.getvalue().encode(), "s.csv", delimiter=delimiter)
    assert told(found) == [{"a": a, "b": b} for a, b in cells]


def test_a_stray_quote_costs_its_line_and_reading_goes_on_at_the_next() -> None:
    data = b'a,b\n1,"2" 3\n4,5\n6,"7\n8,9\n"10,11\n12,13\n'
    found = rows(data, "s.csv")
    assert [(row.line, *told([row])) for row in found] == [
        (2, "wrong_type"), (3, {"a": "4", "b": "5"}), (4, "wrong_type"), (5, {"a": "8", "b": "9"}), (6, "wrong_type"),
        (7, {"a": "12", "b": "13"}),
    ]  # fmt: skip
    left_over = rows(b'a\n"he said "so\nand left"\nnext\n', "s.csv")
    assert told(left_over) == ["wrong_type", "wrong_type", {"a": "next"}]


def test_a_row_of_several_lines_with_the_wrong_number_of_cells_says_which() -> None:
    [bad, good] = seeds(b'prompt,b\n1,"2\n3\n4",5\n6,7\n', "s.csv")
    assert isinstance(bad, RejectedSeed)
    assert (bad.line, bad.lines, good.line) == (2, 3, 5)
    assert "3 lines" in bad.detail


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("s.csv", b"prompt,answer,prompt\n1,2,3\n", "'prompt' twice"),
        ("s.csv", b"prompt;answer\n1;2\n", r"'prompt', 'answer'; set delimiter: \";\""),
        ("s.csv", b'"prompt";"answer"\n1;2\n', r"'prompt', 'answer'; set delimiter: \";\""),
        ("s.tsv", b"prompt,answer\n1,2\n", r"set delimiter: \",\""),
        ("s.jsonl", b'[\n{"prompt": "p"}\n]\n', "format: json"),
        ("s.jsonl", b'\n[{"prompt": "p"}]', "format: json"),
        ("s.jsonl", b'{\n"prompt": "p"\n}\n', "format: json"),
        ("s.csv", b"prompt\tanswer\n1\t2\n", r"delimiter: \"\\t\""),
        ("s.csv", b"pr\xe9mpt,answer\n1,2\n", "UTF-8"),
        ("s.jsonl", b"PAR1....", "format: parquet"),
        ("s.csv", b"PK\x03\x04....", "ZIP"),
        ("s.jsonl.gz", b"", "empty"),
    ],
)
def test_a_file_that_would_be_misread_is_an_error_with_the_next_move(name: str, data: bytes, told: str) -> None:
    with pytest.raises(JobError, match=told):
        rows(data, name)


def test_a_delimiter_is_taken_from_the_job_or_the_ending() -> None:
    assert told(rows(b"a;b\n1;2\n", "s.csv", delimiter=";")) == [{"a": "1", "b": "2"}]
    assert told(rows(b'\n"a;b;c",d\n1,2\n', "s.csv")) == [{"a;b;c": "1", "d": "2"}]
    assert told(rows(b"a\tb\n1\t2\n", "s.tsv")) == [{"a": "1", "b": "2"}]
    assert told(rows(b"a;b\n1;2\n", "s.csv", delimiter=",")) == [{"a;b": "1;2"}]
    with pytest.raises(ValueError, match="one character"):
        Source(path="s.csv", delimiter=";;")
    assert Source(path="s.csv", delimiter="\\t").delimiter == "\t"


# Bytes.


@given(st.binary(max_size=120), st.sampled_from(["jsonl", "json", "csv", "parquet"]))
@example(b'"', "csv")
@example(b"\x1f\x8b\x08", "jsonl")
@example(b"\xff\xfe{", "jsonl")
def test_any_bytes_are_rows_bad_rows_or_an_error(data: bytes, ending: str) -> None:
    try:
        for row in seeds(data, f"s.{ending}"):
            assert row.line >= 1
    except JobError as error:
        assert "wanted" in str(error)


TABLE = [{"prompt": f"naïve question {i}", "answer": "ja 🙂"} for i in range(300)]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in TABLE)


def packed(data: bytes, codec: str) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as out:
        out.write(data)
    return bytes(sink.getvalue())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("codec", ["gzip", "zstd", "bz2", "lz4"])
def test_compression_and_encoding_are_told_from_the_bytes_for_every_format(codec: str, encoding: str) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, ["prompt", "answer"])
    writer.writeheader()
    writer.writerows(TABLE)
    parquet = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(TABLE), parquet)
    assert told(rows(packed(LINES.encode(encoding), codec), "s.jsonl")) == TABLE
    assert told(rows(packed(json.dumps(TABLE).encode(encoding), codec), "s.json")) == TABLE
    assert told(rows(packed(text.getvalue().encode(encoding), codec), "s.csv")) == TABLE
    assert told(rows(packed(parquet.getvalue(), codec), "s.parquet")) == TABLE
    assert told(rows(LINES.encode(encoding), "s.jsonl.gz")) == TABLE  # unpacked on its way


@pytest.mark.parametrize("codec", ["gzip", "zstd", "bz2", "lz4"])
def test_a_compressed_file_that_is_cut_off_or_followed_by_other_bytes_is_an_error(codec: str) -> None:
    data = packed(LINES.encode(), codec)
    assert told(rows(data + data, "s.jsonl")) == TABLE * 2  # members one behind the other are one file
    for broken in (data[: len(data) // 2], data[:-3], data + b"and more"):
        with pytest.raises(JobError, match=f"whole {codec} file"):
            rows(broken, "s.jsonl.gz")


def test_half_a_character_of_utf16_costs_its_row_alone() -> None:
    assert told(rows('{"a": 1}\n{"a": "\ud800"}\n{"a": 3}'.encode("utf-16", "surrogatepass"), "s.jsonl")) == [
        {"a": 1}, "invalid_utf8", {"a": 3},
    ]  # fmt: skip
    assert told(rows('{"a": 1}\n{"a": 2}'.encode("utf-16")[:-1], "s.jsonl")) == [{"a": 1}, "invalid_utf8"]


# Folders.


def test_folders_are_fields() -> None:
    def fields(path: str, row: dict[str, Any]) -> Any:
        [seed] = seeds(json.dumps({"prompt": "p", **row}).encode(), path)
        return seed.reason.value if isinstance(seed, RejectedSeed) else seed.fields

    assert fields("data/lang=pt%2DBR/n=7/s.jsonl", {}) == {"prompt": "p", "lang": "pt-BR", "n": "7"}
    assert fields("s3://bucket/lang=__HIVE_DEFAULT_PARTITION__/s.jsonl", {}) == {"prompt": "p", "lang": None}
    assert fields("lang=de/n=7/ok=true/s.jsonl", {"lang": "de", "n": 7, "ok": True}) == {
        "prompt": "p", "lang": "de", "n": 7, "ok": True,
    }  # fmt: skip
    assert fields("lang=de/s.jsonl", {"lang": None}) == {"prompt": "p", "lang": "de"}
    assert fields("lang=de/s.jsonl", {"lang": "en"}) == "wrong_type"
    assert fields("lang=__HIVE_DEFAULT_PARTITION__/s.jsonl", {"lang": "en"}) == {"prompt": "p", "lang": "en"}


@pytest.mark.parametrize("row", [{"prompt": None, "answer": "a"}, {"answer": "a"}])
def test_a_prompt_that_is_null_is_missing(row: dict[str, Any]) -> None:
    [bad] = seeds(json.dumps(row).encode(), "s.jsonl")
    assert isinstance(bad, RejectedSeed)
    assert bad.reason.value == "missing_field"
