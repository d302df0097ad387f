"""The contract of a table, for every format, on a disk and in a bucket: one snapshot a version, right rows, nothing doubled."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synth_ray.dataset.garbage import garbage
from synth_ray.dataset.ledger import Ledger
from synth_ray.dataset.manifest import Manifest
from synth_ray.dataset.registrations import named_parts
from synth_ray.errors import Conflict, JobError, StorageError
from synth_ray.job.output import Output
from synth_ray.job.sinks import Sink
from synth_ray.lake.contract import Shape
from synth_ray.lake.register import open_table, register_version, version_of
from synth_ray.storage import Storage
from tests.published import make_dataset
from tests.rows import staged_chunk
from tests.tables import FORMATS, QUICK, Place, catalog_of, new_place, read_table

OUTPUT = Output(path="unused", part_rows=10, row_group_rows=4)
STORES = ["local", pytest.param("s3", marks=pytest.mark.s3)]


@pytest.fixture(params=FORMATS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=STORES)
def place(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> Place:
    if request.param == "local":
        return new_place(kind, str(tmp_path / "out"), tmp_path / "catalog.db")
    bucket, server = request.getfixturevalue("bucket"), request.getfixturevalue("moto_server")
    return new_place(kind, f"s3://{bucket}/out", tmp_path / "catalog.db", server)


@pytest.fixture
def local(tmp_path: Path, kind: str) -> Place:
    return new_place(kind, str(tmp_path / "out"), tmp_path / "catalog.db")


def register(place: Place, manifest: Manifest) -> Any:
    return register_version(place.storage, manifest, place.sink, server=place.server, retry=QUICK)


def rows_of_parts(storage: Storage, manifest: Manifest) -> dict[str, list[str]]:
    """The ids of each split, from the parts themselves."""
    ids: dict[str, list[str]] = {}
    for file in manifest.files:
        with storage.open_input(file.path) as opened:
            ids.setdefault(file.split, []).extend(pq.ParquetFile(opened).read(["id"])["id"].to_pylist())
    return {split: sorted(found) for split, found in ids.items() if found}


def test_a_version_is_one_snapshot_with_its_digest_and_its_rows_in_their_splits(place: Place) -> None:
    manifest = make_dataset(place.storage, OUTPUT)
    first = register(place, manifest)
    assert first.is_new and first.rows == sum(manifest.splits.values())
    assert place.rows() == rows_of_parts(place.storage, manifest)
    again = register(place, manifest)
    assert (again.is_new, again.snapshot) == (False, first.snapshot)
    assert place.snapshots() == [manifest.dataset_digest]


def test_a_new_version_replaces_the_old_in_one_commit_and_an_old_one_comes_back(place: Place) -> None:
    old = make_dataset(place.storage, OUTPUT, chunks=range(2))
    register(place, old)
    new = make_dataset(place.storage, OUTPUT, chunks=range(3))
    shared = {f.path for f in old.files} & {f.path for f in new.files}
    assert shared, "the case in which a part is in both versions"
    register(place, new)
    assert place.rows() == rows_of_parts(place.storage, new)
    back = make_dataset(place.storage, OUTPUT, chunks=range(2))
    register(place, back)
    assert place.rows() == rows_of_parts(place.storage, back)
    assert place.snapshots() == [old.dataset_digest, new.dataset_digest, old.dataset_digest]


def test_a_version_with_other_columns_changes_the_tables_columns(local: Place) -> None:
    register(local, make_dataset(local.storage, OUTPUT))
    more = make_dataset(local.storage, Output(path="unused", columns={"turns": "int"}))
    register(local, more)
    assert "turns" in read_table(local.sink, local.storage.url, local.server).schema.names
    assert local.rows() == rows_of_parts(local.storage, more)
    fewer = make_dataset(local.storage, OUTPUT)
    register(local, fewer)
    assert "turns" not in read_table(local.sink, local.storage.url, local.server).schema.names


def test_of_two_registrars_at_once_one_makes_the_snapshot(place: Place) -> None:
    register(place, make_dataset(place.storage, OUTPUT, chunks=range(1)))
    manifest = make_dataset(place.storage, OUTPUT)
    start, ended = threading.Barrier(3), []

    def work() -> None:
        start.wait()
        ended.append(register(place, manifest))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ended) == 3
    assert place.snapshots()[1:] == [manifest.dataset_digest]
    assert place.rows() == rows_of_parts(place.storage, manifest)


def test_a_registrar_that_comes_late_does_not_put_its_version_over_a_later_one(local: Place) -> None:
    old = make_dataset(local.storage, OUTPUT, chunks=range(1))
    new = make_dataset(local.storage, OUTPUT)
    register(local, new)
    with pytest.raises(Conflict, match="published meanwhile"):
        register(local, old)
    assert local.snapshots() == [new.dataset_digest]


def test_a_table_of_somebody_else_is_refused_by_check_and_by_registration(local: Place) -> None:
    manifest = make_dataset(local.storage, OUTPUT)
    theirs = pa.table({"id": ["theirs"], "split": ["train"]})
    if local.sink.format == "iceberg":
        catalog = catalog_of(local.sink, local.server)
        catalog.create_namespace("db")
        catalog.create_table("db.support", schema=theirs.schema).append(theirs)
    elif local.sink.format == "delta":
        from deltalake import write_deltalake

        write_deltalake(f"{local.storage.url}/data", theirs)
    else:
        import lance

        lance.write_dataset(theirs, f"{local.storage.url}/export/lance")
    table, shape = open_table(local.sink, local.storage.url, local.server), version_of(local.storage, manifest).shape
    for act in (lambda: table.check(shape), lambda: register(local, manifest)):
        with pytest.raises(JobError, match="wanted a table that synth-ray made"):
            act()
    assert local.rows() == {"train": ["theirs"]}


def test_check_writes_nothing_and_takes_a_table_of_an_earlier_version(local: Place) -> None:
    manifest = make_dataset(local.storage, OUTPUT)
    before = sorted(e.path for e in local.storage.list())
    shape = version_of(local.storage, manifest).shape
    open_table(local.sink, local.storage.url, local.server).check(shape)
    assert sorted(e.path for e in local.storage.list()) == before
    register(local, manifest)
    wider = Shape(shape.schema.append(pa.field("more", pa.int64())), shape.partition_by)
    open_table(local.sink, local.storage.url, local.server).check(wider)
    assert local.snapshots() == [manifest.dataset_digest]
    if local.sink.format != "lance":
        other = Shape(shape.schema, ["split", "recipe"])
        with pytest.raises(JobError, match="wanted a table partitioned by split, recipe, got split"):
            open_table(local.sink, local.storage.url, local.server).check(other)


def test_folders_of_a_column_nulls_among_them_read_back_right(place: Place) -> None:
    output = Output(path="unused", partition_by={"label": ["a", "yes, ü/b%"]}, columns={"turns": "int", "tags": "strings"})
    Ledger(place.storage).commit_chunk(1, staged_chunk(1, 16, fields='{"label": "yes, ü/b%"}'), {})
    manifest = make_dataset(place.storage, output, partition_by=output.partition_by)
    folders = {file.path.split("/")[2] for file in manifest.files}
    assert folders == {"label=a", "label=yes%2C%20%C3%BC%2Fb%25", "label=__HIVE_DEFAULT_PARTITION__"}
    register(place, manifest)
    assert place.rows() == rows_of_parts(place.storage, manifest)
    labels = read_table(place.sink, place.storage.url, place.server)["label"].to_pylist()
    wanted: list[Any] = []
    for file in manifest.files:
        with place.storage.open_input(file.path) as opened:
            wanted += pq.ParquetFile(opened).read(["label"])["label"].to_pylist()
    assert sorted(map(str, labels)) == sorted(map(str, wanted))
    register(place, make_dataset(place.storage, output, chunks=range(3), partition_by=output.partition_by))
    assert len(place.snapshots()) == 2


def test_a_dataset_without_rows_is_a_table_without_rows(local: Place) -> None:
    manifest = make_dataset(local.storage, OUTPUT, chunks=range(0))
    assert register(local, manifest).rows == 0
    assert local.rows() == {}
    full = make_dataset(local.storage, OUTPUT)
    register(local, full)
    assert local.rows() == rows_of_parts(local.storage, full)
    register(local, make_dataset(local.storage, OUTPUT, chunks=range(0)))
    assert local.rows() == {}
    assert len(local.snapshots()) == 3


def test_gc_leaves_every_part_that_a_table_names_and_its_log(local: Place) -> None:
    old = make_dataset(local.storage, OUTPUT, chunks=range(1))
    register(local, old)
    new = make_dataset(local.storage, Output(path="unused"), chunks=range(3))
    copied = local.sink.format == "lance"

    def removable(kind: Any) -> set[str]:
        return {entry.path for _, entry in garbage(local.storage, [kind], now=4e9, older_than_s=0)}

    olds = {f.path for f in old.files}
    assert removable("parts") & olds == (olds if copied else set()), "published, but not yet registered"
    register(local, new)
    assert removable("parts") == (olds if copied else set()) | {f.path for f in old.rejected_files}
    assert removable("snapshots") == (set() if copied else olds)
    assert named_parts(local.storage).live == (set() if copied else {f.path for f in new.files})
    for path in removable("snapshots") | removable("parts"):
        local.storage.delete(path)
    assert local.rows() == rows_of_parts(local.storage, new)


def test_a_store_that_does_not_answer_is_told_without_secrets(kind: str, tmp_path: Path, monkeypatch: Any) -> None:
    storage = new_place(kind, str(tmp_path / "out"), tmp_path / "c.db").storage
    manifest = make_dataset(storage, OUTPUT)
    if kind == "iceberg":
        monkeypatch.setenv("PYICEBERG_CATALOG__LAKE__URI", "postgresql+psycopg2://me:hidden-word@127.0.0.1:9/db")
        catalog = {"name": "lake", "type": "rest", "uri": "http://127.0.0.1:9"}
        sink = Sink(format="iceberg", table="db.support", catalog=catalog)
        with pytest.raises((StorageError, JobError)) as told:
            register_version(storage, manifest, sink, retry=QUICK)
        assert "hidden-word" not in str(told.value)
