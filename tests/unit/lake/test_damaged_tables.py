"""Tables that somebody changed, addresses that readers cannot open, parts that are gone: mended or refused, never doubled."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synth_ray.dataset.ledger import Ledger
from synth_ray.dataset.manifest import Manifest
from synth_ray.errors import Conflict, JobError, StorageError
from synth_ray.job.output import Output
from synth_ray.job.sinks import Sink
from synth_ray.lake.contract import CommitLost
from synth_ray.lake.lance import LanceTable
from synth_ray.lake.libraries import Server, committing, safe_text, told
from synth_ray.lake.register import open_table, register_version, version_of
from synth_ray.storage import open_storage
from tests.published import make_dataset
from tests.rows import staged_chunk
from tests.tables import FORMATS, QUICK, Place, catalog_of, new_place, read_table

OUTPUT = Output(path="unused", part_rows=10, row_group_rows=4)
VALUES = [
    "a b",
    "c d",
    "50% x",
    "a%20b",
    "ü",
    "a+b",
    "a&b=c",
    "x#y",
    "who?",
    "a/b",
    "a:b",
    "a;b",
    "a,b",
    "a'b",
    'a"b',
    "é ö",
    "日",
    "a.b",
]
VALUES += ["a@b", "plain"]


@pytest.fixture(params=FORMATS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return new_place(str(request.param), str(tmp_path / "out"), tmp_path / "catalog.db")


def register(place: Place, manifest: Manifest) -> Any:
    return register_version(place.storage, manifest, place.sink, server=place.server, retry=QUICK)


def labels_and_ids(place: Place) -> list[tuple[str, str]]:
    table = read_table(place.sink, place.storage.url, place.server)
    return sorted(zip(map(str, table["label"].to_pylist()), table["id"].to_pylist(), strict=True))


def test_folders_with_any_sign_in_their_names_are_swapped_over_three_versions_and_back(place: Place) -> None:
    output = Output(path="unused", part_rows=10, row_group_rows=4, partition_by={"label": VALUES})
    for chunk, label in enumerate(VALUES, start=3):
        Ledger(place.storage).commit_chunk(chunk, staged_chunk(chunk, 2, fields=json.dumps({"label": label})), {})
    seen = []
    for chunks in (range(3, 13), range(3, 23), range(8, 23), range(3, 13)):
        manifest = make_dataset(place.storage, output, chunks=chunks, partition_by=output.partition_by)
        assert register(place, manifest).rows == 2 * len(chunks)
        seen.append(labels_and_ids(place))
        assert [label for label, _ in seen[-1]] == sorted(2 * [VALUES[chunk - 3] for chunk in chunks])
    assert seen[0] == seen[3] and len(place.snapshots()) == 4


def test_rows_that_a_user_removed_come_back(place: Place) -> None:
    manifest = make_dataset(place.storage, OUTPUT)
    register(place, manifest)
    before = place.rows()
    if place.sink.format == "iceberg":
        catalog_of(place.sink, place.server).load_table("db.support").delete("split = 'train'")
    elif place.sink.format == "delta":
        from deltalake import DeltaTable

        DeltaTable(f"{place.storage.url}/data").delete("split = 'train'")
    else:
        import lance

        lance.dataset(f"{place.storage.url}/export/lance").delete("split = 'train'")
    assert place.rows() != before
    assert register(place, manifest).is_new
    assert place.rows() == before
    assert not register(place, manifest).is_new


def test_a_copy_of_a_dataset_in_the_same_iceberg_table_is_named_by_its_own_files(tmp_path: Path) -> None:
    place = new_place("iceberg", str(tmp_path / "out"), tmp_path / "catalog.db")
    manifest = make_dataset(place.storage, OUTPUT)
    register(place, manifest)
    before = place.rows()
    shutil.copytree(tmp_path / "out", tmp_path / "copy")
    shutil.rmtree(tmp_path / "out")
    copy = open_storage(str(tmp_path / "copy"))
    assert register_version(copy, manifest, place.sink, retry=QUICK).is_new
    assert place.rows() == before
    assert not register_version(copy, manifest, place.sink, retry=QUICK).is_new


@pytest.mark.parametrize("damage", ["gone", "broken", "other rows"])
def test_a_part_that_is_not_as_the_manifest_says_is_refused_at_once(place: Place, damage: str, tmp_path: Path) -> None:
    old = make_dataset(place.storage, OUTPUT, chunks=range(1))
    register(place, old)
    manifest = make_dataset(place.storage, OUTPUT)
    before = place.rows()
    part = [f.path for f in manifest.files if f.rows and f.path not in {o.path for o in old.files}][-1]
    file = tmp_path / "out" / part
    if damage == "other rows":
        pq.write_table(pq.read_table(file).slice(1), file)
    elif damage == "broken":
        file.write_bytes(b"PAR1 and no more")
    else:
        file.unlink()
    with pytest.raises(JobError, match=r"wanted the \d+ rows of the manifest, got .*; restore the file"):
        register(place, manifest)
    assert place.snapshots() == [old.dataset_digest] and place.rows() == before


def test_a_version_published_while_lance_copies_is_not_overwritten(tmp_path: Path) -> None:
    place = new_place("lance", str(tmp_path / "out"), tmp_path / "c.db")
    version = version_of(place.storage, make_dataset(place.storage, OUTPUT))

    def published() -> None:
        raise Conflict("another one")

    table = open_table(place.sink, place.storage.url)
    assert table.find(version) is None
    with pytest.raises(Conflict):
        table.register(version, published)
    assert table.find(version) is None


@pytest.mark.parametrize("is_first", [True, False])
def test_of_two_lance_commits_on_one_state_the_second_is_lost(tmp_path: Path, is_first: bool) -> None:
    place = new_place("lance", str(tmp_path / "out"), tmp_path / "c.db")
    if not is_first:
        register(place, make_dataset(place.storage, OUTPUT, chunks=range(1)))
    version = version_of(place.storage, make_dataset(place.storage, OUTPUT))
    first, second = (LanceTable(f"{place.storage.url}/export/lance", Server()) for _ in range(2))
    assert first.find(version) is second.find(version) is None
    with pytest.raises(CommitLost):
        second.register(version, lambda: first.register(version, lambda: None))
    third = LanceTable(f"{place.storage.url}/export/lance", Server())
    if is_first:
        with pytest.raises(CommitLost):  # of a table that it has not seen
            third.register(version, lambda: None)
    assert place.snapshots()[-1] == version.dataset_digest and len(place.snapshots()) == 1 + (not is_first)


ICEBERG = Sink(format="iceberg", table="a.b", catalog={"type": "sql", "uri": "sqlite://"})


def test_roots_that_readers_of_iceberg_cannot_open_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for root in ("/data/a#b", "/data/a?b", "s3://bucket/a#b"):
        with pytest.raises(JobError, match="wanted an address without # and \\?"):
            open_table(ICEBERG, root)
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(JobError, match="wanted the storage account"):
        open_table(ICEBERG, "az://container/a")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    table: Any = open_table(ICEBERG, "az://container/a")
    assert table._root == "abfss://container@account.dfs.core.windows.net/a"


@pytest.mark.parametrize("kind", ["delta", "lance"])
def test_a_table_is_in_any_folder_whatever_its_name(kind: str, tmp_path: Path) -> None:
    name = "a#c?d ü" if kind == "delta" else "a%20b#c?d ü"
    place = new_place(kind, str(tmp_path / name), tmp_path / "c.db")
    register(place, make_dataset(place.storage, OUTPUT, chunks=range(1)))
    manifest = make_dataset(place.storage, OUTPUT)
    register(place, manifest)
    assert not register(place, manifest).is_new
    assert (tmp_path / name / ("data/_delta_log" if kind == "delta" else "export/lance")).is_dir()
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("root", ["/data/a%20b", "/data/50%", "s3://bucket/a%20b", "s3://bucket/a#b"])
def test_roots_that_deltalake_reads_as_others_are_refused(root: str) -> None:
    with pytest.raises(JobError, match="wanted an address without %"):
        open_table(Sink(format="delta"), root)


def test_a_server_of_one_cloud_is_not_given_to_tables_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    azure, s3 = Server("http://127.0.0.1:1", None, "az"), Server("http://127.0.0.1:1", "eu-1", "s3")
    assert azure.for_pyiceberg() == {} and "aws_endpoint" not in azure.for_object_store("s3://b/p")
    assert s3.for_pyiceberg() == {"s3.endpoint": "http://127.0.0.1:1", "s3.region": "eu-1"}
    assert s3.for_object_store("az://container/p") == {}
    for sink in (ICEBERG, Sink(format="delta"), Sink(format="lance")):
        with pytest.raises(JobError, match=r"output\.endpoint_url: wanted none for a table at az://"):
            open_table(sink, "az://container/p", azure)


def errors() -> Iterator[Exception]:
    yield OSError("GET https://h/p?sig=ab%2Bc%3D&sv=2022 status: 503 <Code>ServerBusy</Code> sv=2022&sig=ab+c=")
    yield OSError("AWS Error SLOW_DOWN during PutObject, HTTP status 503, says hidden-word ab%2Bc%3D")


def test_an_error_is_told_by_its_type_status_and_code_alone() -> None:
    assert [safe_text(error) for error in errors()] == ["OSError, HTTP 503, ServerBusy", "OSError, HTTP 503, SLOW_DOWN"]
    for error in errors():
        with pytest.raises(StorageError) as final, told("delta s3://b"):
            raise error
        assert "ab" not in str(final.value).split("got")[1].split(";")[0] and "hidden" not in str(final.value)
        with pytest.raises(CommitLost), committing("delta s3://b"):
            raise error
    for error in (PermissionError("no"), OSError("status 403 Forbidden"), TypeError("no"), pa.ArrowTypeError("no")):
        with pytest.raises(StorageError), committing("delta s3://b"):
            raise error
