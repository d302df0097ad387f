"""The contract of every store: one suite, run on a folder, S3, GCS and Azure."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synth_ray.errors import Conflict, ObjectNotFound, StorageError
from synth_ray.storage import Storage
from synth_ray.storage.part_buffer import PART_BYTES


def paths(store: Storage, prefix: str = "") -> list[str]:
    """A store may list in any order; a path's UTF-8 bytes are as good as any."""
    return sorted((entry.path for entry in store.list(prefix)), key=str.encode)


def test_a_written_object_is_read_back(store: Storage) -> None:
    store.write("a/b c/é.bin", b"one")
    assert store.read("a/b c/é.bin") == b"one"
    store.write("a/b c/é.bin", b"two")
    assert store.read("a/b c/é.bin") == b"two"
    assert store.read_with_etag("a/b c/é.bin") == (b"two", store.etag("a/b c/é.bin"))


def test_a_missing_object_is_an_error(store: Storage) -> None:
    store.write("folder/x", b"")
    for path in ("nothing", "folder/y", "folder"):
        for act in (store.read, store.open_input, store.etag):
            with pytest.raises(ObjectNotFound):
                act(path)
        assert not store.exists(path)
    store.delete("nothing")


def test_a_range_ends_where_the_object_ends(store: Storage) -> None:
    store.write("x", b"0123456789")
    assert store.read_range("x", 2, 3) == b"234"
    assert store.read_range("x", 8, 100) == b"89"
    assert store.read_range("x", 10, 5) == b""
    assert store.read_range("x", 0, 0) == b""


def test_create_succeeds_only_once(store: Storage) -> None:
    etag = store.create("c/x", b"first")
    with pytest.raises(Conflict):
        store.create("c/x", b"first")
    assert store.read("c/x") == b"first"
    assert store.etag("c/x") == etag


def test_swap_replaces_only_the_version_of_its_etag(store: Storage) -> None:
    first = store.create("x", b"1")
    second = store.swap("x", b"2", first)
    with pytest.raises(Conflict):
        store.swap("x", b"3", first)
    assert store.read("x") == b"2"
    assert store.etag("x") == second
    with pytest.raises(Conflict):
        store.swap("absent", b"3", second)
    assert not store.exists("absent")


def _race(writers: int, write: Callable[[int], Any]) -> list[int]:
    """Start all writers at once; return the numbers of those that succeeded."""
    winners: list[int] = []
    barrier = threading.Barrier(writers)

    def run(number: int) -> None:
        barrier.wait()
        try:
            write(number)
        except Conflict:
            return
        winners.append(number)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return winners


def test_exactly_one_of_many_concurrent_creators_wins(store: Storage) -> None:
    for attempt in range(5):
        winners = _race(8, lambda n, path=f"race/{attempt}": store.create(path, b"%d" % n))  # type: ignore[misc]
        assert len(winners) == 1
        assert store.read(f"race/{attempt}") == b"%d" % winners[0]


def test_exactly_one_of_many_concurrent_swappers_wins(store: Storage) -> None:
    etag = store.create("x", b"start")
    for _ in range(5):
        winners = _race(8, lambda n, etag=etag: store.swap("x", b"%d %s" % (n, etag.encode()), etag))  # type: ignore[misc]
        assert len(winners) == 1
        data, etag = store.read_with_etag("x")
        assert data.startswith(b"%d " % winners[0])


def test_a_listing_is_by_prefix_and_tells_each_object_once(store: Storage) -> None:
    names = ["a", "a-b", "aa/z", "ab", "b/a-b", "b/a.b", "b/a/c", "b/a0", "b/é", "c"]
    for name in reversed(names):
        store.write(name, name.encode())
    assert paths(store) == names
    assert paths(store, "b/") == ["b/a-b", "b/a.b", "b/a/c", "b/a0", "b/é"]
    assert paths(store, "b/a") == ["b/a-b", "b/a.b", "b/a/c", "b/a0"]
    assert paths(store, "nothing/") == []
    sizes = {entry.path: entry.size for entry in store.list()}
    assert sizes["b/é"] == len("b/é".encode())


def test_a_deleted_object_no_longer_exists(store: Storage) -> None:
    store.write("a/x", b"1")
    store.delete("a/x")
    assert not store.exists("a/x")
    assert paths(store) == []


def test_many_objects_are_deleted_together_and_nothing_else(store: Storage) -> None:
    for name in ("a/1", "a/2 é", "a/3", "ab", "b"):
        store.write(name, b"1")
    store.delete_many(["a/1", "a/2 é", "a/missing", "nowhere/x", "a/3"])
    assert paths(store) == ["ab", "b"]
    store.delete_many([])
    with pytest.raises(StorageError, match="relative path"):
        store.delete_many(["b", "../x"])
    assert "ab" in paths(store)


@pytest.mark.parametrize("size", [0, 10, PART_BYTES, 2 * PART_BYTES + 17])
def test_an_upload_is_visible_only_after_its_block_ends(store: Storage, size: int) -> None:
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    with store.upload("up/x") as out:
        for start in range(0, len(data), 1_000_003):
            out.write(memoryview(data)[start : start + 1_000_003])
        assert out.tell() == size
        assert not store.exists("up/x")
    assert store.read("up/x") == data


@pytest.mark.parametrize("size", [10, 2 * PART_BYTES])
def test_a_failed_upload_leaves_nothing(store: Storage, size: int) -> None:
    class UploadError(BaseException):
        pass

    with pytest.raises(UploadError), store.upload("up/x") as out:
        out.write(b"x" * size)
        raise UploadError
    assert paths(store) == []
    assert store.sweep_uploads(older_than_s=-60) == 0


def test_an_upload_replaces_only_when_it_ends(store: Storage) -> None:
    store.write("x", b"old")
    with pytest.raises(KeyError), store.upload("x") as out:
        out.write(b"new")
        raise KeyError
    assert store.read("x") == b"old"


def test_parquet_is_written_and_read_back(store: Storage) -> None:
    table = pa.table({"id": list(range(10_000)), "text": [f"row {i}" for i in range(10_000)]})
    with store.upload("t.parquet") as out:
        pq.write_table(table, out, row_group_size=1000)
    with store.open_input("t.parquet") as file:
        assert file.seekable()
        assert pq.read_table(file, columns=["text"]).equals(table.select(["text"]))


def test_a_failed_parquet_writer_publishes_nothing(store: Storage) -> None:
    with pytest.raises(pa.ArrowInvalid), store.upload("t.parquet") as out:
        writer = pq.ParquetWriter(out, pa.schema([("a", pa.int64())]))
        writer.write_table(pa.table({"a": [1]}))
        raise pa.ArrowInvalid("a bad batch")
    with pytest.raises(ValueError, match="ended"):  # as the garbage collector would, later
        writer.close()
    assert paths(store) == []


def test_the_probe_tries_conditions_and_cleans_up(store: Storage) -> None:
    assert store.probe_conditional()
    assert paths(store) == []


UNSAFE = [
    "",
    "/etc/passwd",
    "..",
    "a/../../b",
    "a//b",
    "./a",
    "a/.",
    "a\\b",
    "a\0b",
    "a\nb",
    ".tmp/x",
    "a/" * 500 + "a",
    "\ud800",
]


@pytest.mark.parametrize("path", UNSAFE, ids=range(len(UNSAFE)))
def test_a_path_that_leaves_the_root_is_refused(store: Storage, path: str) -> None:
    operations: list[Callable[[], Any]] = [
        lambda: store.read(path),
        lambda: store.read_range(path, 0, 1),
        lambda: store.open_input(path),
        lambda: store.write(path, b"x"),
        lambda: store.create(path, b"x"),
        lambda: store.swap(path, b"x", "0"),
        lambda: store.etag(path),
        lambda: store.exists(path),
        lambda: store.delete(path),
        lambda: store.upload(path).__enter__(),
        lambda: list(store.list(path)) if path else store.read(path),
    ]
    for operation in operations:
        with pytest.raises(StorageError, match="relative path"):
            operation()
