from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import polars
import pyarrow as pa
import pyarrow.dataset
import pytest
import yaml

from synth_ray.dataset.card import write_card, write_unfinished_card
from synth_ray.dataset.manifest import Manifest, manifest_etag, read_manifest, write_manifest
from synth_ray.dataset.writer import DatasetWriter
from synth_ray.errors import Conflict, StorageError, SynthRayError
from synth_ray.job.output import Output
from synth_ray.records import STAGED
from synth_ray.storage import Storage, open_storage
from tests.cloud_servers import REMOTE, new_place
from tests.published import make_dataset, shape_of
from tests.rows import staged_row

CLOSED = {"label": ["a", "b"]}


def test_a_manifest_is_read_back_unchanged(store: Storage) -> None:
    manifest = make_dataset(store, Output(path="unused", partition_by=CLOSED))
    assert read_manifest(store) == manifest
    assert {f.path for f in [*manifest.files, *manifest.rejected_files]} <= {e.path for e in store.list()}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": {"requested": 33, "accepted": 24, "rejected": {"echo": 8}}}, "slots requested 33"),
        (
            {"rows": {"requested": 32, "accepted": 23, "rejected": {"echo": 8}, "failed": {"deadline": 1}}},
            "rows in splits",
        ),
        ({"rows": {"requested": 33, "accepted": 24, "rejected": {"echo": 8}, "pending": 1}}, "pending"),
        ({"seeds": {"read": 9, "planned": 7, "rejected": {"too_deep": 1}}}, "seeds read 9"),
        ({"splits": {"train": 24}}, "split train"),
        ({"rejected_files": []}, "rejected/"),
    ],
)
def test_a_manifest_that_does_not_add_up_is_not_published(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    store = open_storage(str(tmp_path))
    good = make_dataset(store, Output(path="unused"))
    with pytest.raises(SynthRayError, match=re.escape(message)):
        write_manifest(store, Manifest(**(good.to_dict() | changes)), replaces=manifest_etag(store))
    assert read_manifest(store) == good


def test_pending_slots_are_counted_when_a_run_stopped_short(tmp_path: Path) -> None:
    manifest = make_dataset(open_storage(str(tmp_path)), Output(path="unused")).to_dict()
    manifest["rows"] |= {"requested": 100, "pending": 68}
    Manifest(**(manifest | {"complete": False})).check()


def test_a_manifest_is_replaced_only_if_unchanged_since_the_run_began(store: Storage) -> None:
    manifest = make_dataset(store, Output(path="unused"))
    etag = manifest_etag(store)
    write_manifest(store, manifest, replaces=etag)
    store.write("manifest.json", store.read("manifest.json") + b"\n")
    with pytest.raises(Conflict, match="another driver"):
        write_manifest(store, manifest, replaces=etag)
    with pytest.raises(Conflict):
        write_manifest(store, manifest, replaces="")


def test_a_broken_manifest_is_refused(store: Storage) -> None:
    store.write("manifest.json", b'{"name": "x"}')
    with pytest.raises(StorageError, match="job_digest"):
        read_manifest(store)


def card_head(store: Storage) -> dict[str, Any]:
    head: dict[str, Any] = yaml.safe_load(store.read("README.md").decode().split("---\n")[1])
    return head


def test_an_unfinished_card_lists_no_file_and_never_overwrites_a_finished_one(store: Storage) -> None:
    write_unfinished_card(store, name="x")
    assert card_head(store)["configs"] == [{"config_name": "default", "data_files": []}]
    assert b".parquet" not in store.read("README.md")
    manifest = make_dataset(store, Output(path="unused"))
    finished = store.read("README.md")
    write_unfinished_card(store, name="x")
    assert store.read("README.md") == finished
    listed = [path for files in card_head(store)["configs"][0]["data_files"] for path in files["path"]]
    assert listed == [file.path for file in manifest.files]


def test_the_card_warns_in_bold(store: Storage) -> None:
    manifest = make_dataset(store, Output(path="unused"))
    assert b"**" not in store.read("README.md")
    flags = {"synthetic_only_eval": True, "single_writer": True, "complete": False, "stopped": "budget.max_usd"}
    flags |= {"pii": {"EMAIL_ADDRESS": 3}, "pii_in_place": True}
    write_card(store, manifest.model_copy(update=flags))
    card = store.read("README.md").decode()
    for text in (
        "**The evaluation splits of this dataset are synthetic only.**",
        "stopped before its end: budget.max_usd",
        "**Found and left in place:**",
    ):
        assert text in card
    assert "**Written without conditional writes:**" in card


def python_block(card: str) -> str:
    block = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert block
    return block[1]


COUNT_ROWS = """
import json, os
counts = {name: split.num_rows for name, split in rows.items()} if isinstance(rows, dict) else rows.num_rows
result = {"rows": counts, "arrow": in_pyarrow.count_rows(), "polars": in_polars.collect().height}
if "in_duckdb" in globals():
    result["duckdb"] = dict(in_duckdb.aggregate("split, count(*)").fetchall())
    result["rejected"] = datasets.load_dataset(os.getcwd(), "rejected")["rejected"].num_rows
    result["features"] = {k: str(v) for k, v in rows["train"].features.items()}
print("result", json.dumps(result), flush=True)
os._exit(0)  # everything is read: the threads of some libraries abort a busy machine's process when the interpreter ends
"""


def run_card(card: str, *, cwd: Path, tmp_path: Path) -> dict[str, Any]:
    """Run the card's own code in a new interpreter, offline, with its own caches; return the row counts."""
    env = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path / "hf"),
        "HF_DATASETS_CACHE": str(tmp_path / "hfc"),
    }
    completed = subprocess.run(
        [sys.executable, "-c", python_block(card) + COUNT_ROWS],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    counts: dict[str, Any] = json.loads(completed.stdout.rpartition("result ")[2])
    return counts


def test_the_code_of_a_local_card_loads_the_dataset(tmp_path: Path) -> None:
    root = tmp_path / "out"
    manifest = make_dataset(open_storage(str(root)), Output(path="unused", partition_by=CLOSED, columns={"n": "int"}))
    counts = run_card((root / "README.md").read_text(), cwd=root, tmp_path=tmp_path)
    assert counts["rows"] == counts["duckdb"] == manifest.splits
    assert counts["arrow"] == counts["polars"] == manifest.rows.accepted
    assert counts["rejected"] == sum(manifest.rows.rejected.values())
    assert list(counts["features"]) == list(manifest.columns)
    assert counts["features"]["messages"] == "List({'role': Value('string'), 'content': Value('string')})"


@pytest.mark.parametrize("kind", REMOTE)
def test_the_code_of_a_bucket_card_loads_the_dataset(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    place = new_place(kind, request)
    store = open_storage(f"{place.url}/some/prefix", endpoint_url=place.endpoint_url)
    manifest = make_dataset(store, Output(path="unused", partition_by=CLOSED))
    write_card(store, manifest, endpoint_url=place.endpoint_url)
    counts = run_card(store.read("README.md").decode(), cwd=tmp_path, tmp_path=tmp_path)
    assert counts["rows"] == counts["arrow"] == counts["polars"] == manifest.rows.accepted


def test_an_unfinished_folder_is_refused_by_datasets(tmp_path: Path) -> None:
    store = open_storage(str(tmp_path / "out"))
    write_unfinished_card(store, name="x")
    store.write("data/split=train/part-00000-00000000.parquet", b"PAR1")
    code = "import datasets, os; datasets.load_dataset(os.getcwd())"
    env = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    command = [sys.executable, "-c", code]
    completed = subprocess.run(command, cwd=tmp_path / "out", env=env, capture_output=True, text=True, check=False)
    assert "DataFilesNotFoundError" in completed.stderr


@pytest.mark.parametrize("values", [["a", "b"], ["a/b?", "ä ö=%"], ["a1", "true"]])
def test_hive_partitions_are_read_back_in_duckdb_polars_and_pyarrow(tmp_path: Path, values: list[str]) -> None:
    options = Output(path="unused", partition_by={"label": values})
    labels = [values[0], values[1], "undeclared", values[0]]
    table = pa.Table.from_pylist(
        [staged_row(n, fields=json.dumps({"label": label})) for n, label in enumerate(labels)], schema=STAGED
    )
    with DatasetWriter(open_storage(str(tmp_path)), shape_of(options), options) as writer:
        writer.write("train", table)
        files = [str(tmp_path / file.path) for file in writer.finish().files]
    wanted = {values[0]: 2, values[1]: 1, None: 1}
    in_duckdb = duckdb.read_parquet(files, hive_partitioning=True).aggregate("label, split, count(*)").fetchall()
    assert {label: n for label, split, n in in_duckdb if split == "train"} == wanted
    in_polars = polars.scan_parquet(files, hive_partitioning=True).group_by("label", "split").len().collect().rows()
    assert {label: n for label, split, n in in_polars if split == "train"} == wanted
    in_pyarrow = pyarrow.dataset.dataset(files, partitioning="hive").to_table(columns=["label", "split"]).to_pylist()
    assert sorted(map(str, (row["label"] for row in in_pyarrow))) == sorted(map(str, [*labels[:2], None, labels[3]]))
