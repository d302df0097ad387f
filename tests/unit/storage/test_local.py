from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from synth_ray.errors import ObjectNotFound, StorageError
from synth_ray.storage import open_file, open_storage, split_url

FULL_DISK = """
import resource, sys
from synth_ray.errors import StorageError
from synth_ray.storage import open_storage
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
store = open_storage(sys.argv[1])
store.write("kept", b"old")
def stream():
    with store.upload("kept") as out:
        for _ in range(100):
            out.write(b"x" * 10_000)
for act in (lambda: store.write("kept", b"x" * 200_000), lambda: store.create("new", b"x" * 200_000), stream):
    try:
        act()
    except StorageError as error:
        assert "full disk" in str(error), error
    else:
        raise SystemExit("nothing was refused")
assert [(e.path, e.size) for e in store.list()] == [("kept", 3)]
"""


def test_a_full_disk_is_a_clean_error_and_leaves_nothing(tmp_path: Path) -> None:
    assert resource.RLIM_INFINITY in resource.getrlimit(resource.RLIMIT_FSIZE)
    subprocess.run([sys.executable, "-c", FULL_DISK, str(tmp_path / "out")], check=True)


KILLED = """
import os, signal, sys
from synth_ray.storage import open_storage
with open_storage(sys.argv[1]).upload("big/x") as out:
    out.write(b"x" * 50_000)
    out.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_upload_is_invisible_and_is_swept(tmp_path: Path) -> None:
    completed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert completed.returncode == -9
    store = open_storage(str(tmp_path))
    assert list(store.list()) == []
    assert store.sweep_uploads(older_than_s=3600) == 0
    assert store.sweep_uploads(older_than_s=-1) == 1


def test_a_file_in_place_of_a_folder_is_not_reported_as_a_missing_object(tmp_path: Path) -> None:
    store = open_storage(str(tmp_path))
    store.write("a", b"1")
    with pytest.raises(StorageError, match="Not a directory") as caught:
        store.write("a/b", b"2")
    assert not isinstance(caught.value, ObjectNotFound)


def test_an_exception_of_the_caller_is_not_translated(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), open_storage(str(tmp_path)).upload("x"):
        raise FileNotFoundError("the caller's own")


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("out/demo", ("file", "", "out/demo")),
        ("file:///data/x", ("file", "", "/data/x")),
        ("s3://bucket", ("s3", "bucket", "")),
        ("s3://bucket/a/b/", ("s3", "bucket", "a/b")),
        ("gs://my_bucket.example.org/a", ("gs", "my_bucket.example.org", "a")),
        ("az://data-1/a/b", ("az", "data-1", "a/b")),
        ("abfss://data@account1.dfs.core.windows.net/a/b/", ("az", "data@account1", "a/b")),
    ],
)
def test_urls_are_split_into_scheme_bucket_and_path(url: str, parts: tuple[str, str, str]) -> None:
    assert split_url(url) == parts


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://bucket/x",
        "s3://",
        "s3://Bucket",
        "s3://key:secret@bucket/x",
        "s3://bucket/a/../b",
        "s3://bucket/a//b",
        "gs://Bucket/x",
        "gs://key:secret@bucket/x",
        "az://ab/x",
        "az://data--1/x",
        "az://data@account/x",
        "abfss://data/x",
        "abfss://data:secret@account.dfs.core.windows.net/x",
        "abfss://data@account.example.org/x",
    ],
)
def test_an_invalid_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(StorageError) as caught:
        split_url(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("endpoint", ["http://key:secret@host", "host:9000", "ftp://host", "http://host/?secret=1"])
def test_an_endpoint_with_credentials_is_refused(endpoint: str) -> None:
    with pytest.raises(StorageError) as caught:
        open_storage("s3://bucket", endpoint_url=endpoint)
    assert "secret" not in str(caught.value)


def test_a_seed_file_is_opened_by_its_path_or_url(tmp_path: Path) -> None:
    (tmp_path / "seeds.jsonl").write_bytes(b"one\ntwo\n")
    with open_file(str(tmp_path / "seeds.jsonl")) as file:
        assert file.read(3) == b"one"
        file.seek(0)
        assert file.read().splitlines() == [b"one", b"two"]
    with pytest.raises(ObjectNotFound):
        open_file(str(tmp_path / "nothing"))
