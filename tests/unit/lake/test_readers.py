"""What the readers of each format see: the split, every type of column, and one split alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synth_ray.dataset.top_k import TOP_K_COLUMNS
from synth_ray.job.output import Output
from synth_ray.lake.contract import Part, Shape, Version
from synth_ray.lake.register import open_table, register_version
from tests.conftest import ROOT
from tests.published import make_dataset
from tests.tables import FORMATS, Place, catalog_of, new_place, read_table

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("messages", MESSAGES),
        ("tags", pa.list_(pa.string())),
        ("score", pa.float64()),
        ("ok", pa.bool_()),
        ("nothing", pa.string()),
        *TOP_K_COLUMNS.items(),
        ("depth", pa.int8()),
        ("prompt_tokens", pa.int32()),
    ]
)


def rows(split: str, n: int) -> list[dict[str, Any]]:
    said = [{"role": "user", "content": "Grüße"}, {"role": "assistant", "content": ""}]
    row: dict[str, Any] = {"messages": said, "tags": ["a", "b"], "score": 0.5, "ok": True, "nothing": None, "depth": 1}
    row |= {"prompt_tokens": 7, "prompt_ids": [1, 2**32 - 1], "answer_ids": [3], "top_k_ids": [3, 4]}
    row |= {"top_k_logprobs": [np.float16(-0.5), np.float16(-2.0)], "tail_mass": [np.float16(0.25)]}
    without = row | dict.fromkeys([*TOP_K_COLUMNS, "tags", "score", "ok"]) | {"messages": []}
    return [{"id": f"{split}-{i}", **(row if i % 2 == 0 else without)} for i in range(n)]


@pytest.fixture(params=FORMATS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A table of two splits, with every type of column, registered."""
    place = new_place(request.param, str(tmp_path / "out"), tmp_path / "catalog.db")
    parts = []
    for split, n in (("train", 4), ("validation", 2)):
        path = f"data/split={split}/part-00000-00000000.parquet"
        table = pa.Table.from_pylist(rows(split, n), schema=SCHEMA)
        with place.storage.upload(path) as out:
            pq.write_table(table, out)
        parts.append(Part(path, {"split": split}, n, (tmp_path / "out" / path).stat().st_size))
    shape = Shape(SCHEMA.append(pa.field("split", pa.string())), ["split"])
    table = open_table(place.sink, place.storage.url, place.server)
    version = Version("types", "d0", "j0", place.storage, parts, shape)
    assert table.find(version) is None
    table.register(version, lambda: None)
    return place


def test_every_column_comes_back_with_its_values(place: Place) -> None:
    read = sorted(read_table(place.sink, place.storage.url, place.server).to_pylist(), key=lambda row: row["id"])
    wanted = [row | {"split": split} for split, n in (("train", 4), ("validation", 2)) for row in rows(split, n)]
    assert read == wanted


def test_polars_and_duckdb_read_splits(place: Place) -> None:
    root = place.storage.url
    if place.sink.format == "iceberg":
        table = catalog_of(place.sink, place.server).load_table("db.support")
        lazy = polars.scan_iceberg(table, reader_override="pyiceberg")
        counted = table.scan().to_duckdb("support").sql("select split, count(*) from support group by split order by split")
        assert table.scan(row_filter="split = 'validation'").to_arrow().num_rows == 2
    elif place.sink.format == "delta":
        from deltalake import DeltaTable

        lazy = polars.scan_delta(f"{root}/data")
        files = DeltaTable(f"{root}/data").file_uris()
        counted = duckdb.read_parquet(files, hive_partitioning=True).aggregate("split, count(*)", "split").order("split")
    else:
        import lance

        table = lance.dataset(f"{root}/export/lance")
        lazy = polars.from_arrow(table.to_table(columns=["id", "split"])).lazy()
        counted = duckdb.from_arrow(table.to_table(columns=["split"])).aggregate("split, count(*)", "split").order("split")
        assert table.count_rows("split = 'validation'") == 2
    assert counted.fetchall() == [("train", 4), ("validation", 2)]
    found = lazy.filter(polars.col("split") == "validation").select("id", "split").sort("id").collect().rows()
    assert found == [("validation-0", "validation"), ("validation-1", "validation")]


def test_the_lines_of_the_docs_read_an_iceberg_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = new_place("iceberg", str(tmp_path / "out"), tmp_path / "catalog.db")
    manifest = make_dataset(place.storage, Output(path="unused"))
    register_version(place.storage, manifest, place.sink)
    [lines] = re.findall(r"```python\n(from pyiceberg.*?)```", (ROOT / "docs" / "lake.md").read_text(), re.DOTALL)
    exec(lines.replace("/lake/catalog.db", str(tmp_path / "catalog.db")), {})
    assert manifest.dataset_digest in capsys.readouterr().out
