"""Pushes to a server of the Hub's own protocol: one commit, resumed after a failure, nothing sent twice, no token told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import datasets
import pytest
from huggingface_hub import DatasetCard

from synth_ray.dataset.manifest import Manifest, manifest_etag, write_manifest
from synth_ray.job.output import Output
from synth_ray.storage import Storage, open_storage
from tests.hub_server import TOKEN, Hub, serving_hub
from tests.published import make_dataset

pytestmark = pytest.mark.slow
ADDRESS = "hf://datasets/owner/name"
BESIDE = {"README.md", "manifest.json", "croissant.json"}
SMALL_PARTS = Output(path="unused", part_rows=3)


@pytest.fixture
def hub(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hub-home")))
    with serving_hub(Hub()) as hub:
        yield hub


def published(folder: Path | str, **where: str) -> tuple[Storage, Manifest]:
    store = open_storage(str(folder), **where)
    return store, make_dataset(store, SMALL_PARTS)


def push(hub: Hub, prefix: Path | str, *words: str, address: str = ADDRESS, **environment: str) -> tuple[int, str, str]:
    """In a process of its own: huggingface_hub reads its environment when it is imported."""
    settings = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    settings |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", **environment}
    command = [sys.executable, "-m", "synth_ray.cli.main", "report", str(prefix), "--push", address, *words]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False)
    assert TOKEN not in done.stdout + done.stderr
    return done.returncode, done.stdout, done.stderr


def loaded(hub: Hub, folder: Path) -> dict[str, int]:
    """Rows by split, as `datasets` loads what is on the Hub."""
    for path, data in hub.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    splits = datasets.load_dataset(str(folder), cache_dir=str(folder / "cache"))
    return {name: split.num_rows for name, split in splits.items()}


def test_a_push_is_one_commit_of_the_version_and_a_second_one_does_nothing(hub: Hub, tmp_path: Path) -> None:
    _, manifest = published(tmp_path / "out")
    hub.files = {
        ".gitattributes": b"*.parquet filter=lfs",
        "notes.md": b"kept",
        "data/split=train/part-00009-0123abcd.parquet": b"old",
    }
    code, out, err = push(hub, tmp_path / "out")
    assert (code, len(hub.commits)) == (0, 1), err
    parts = {file.path for file in manifest.files}
    assert len(parts) > 5
    assert set(hub.files) == parts | BESIDE | {"report.html", ".gitattributes", "notes.md"}
    assert all(hub.files[path] == (tmp_path / "out" / path).read_bytes() for path in parts)
    assert f"{len(parts) + 4} files sent" in out and "1 removed" in out and f"{hub.url}/datasets/owner/name/commit/111" in out
    card = DatasetCard(hub.files["README.md"].decode())
    assert [config["config_name"] for config in card.data.configs] == ["default"]
    assert 'load_dataset("owner/name")' in card.text
    assert loaded(hub, tmp_path / "copy") == manifest.splits
    code, out, err = push(hub, tmp_path / "out")
    assert (code, len(hub.commits), set(hub.uploads.values())) == (0, 1, {1}), err
    assert f"nothing to do: {ADDRESS} has dataset {manifest.dataset_digest} already" in out


def test_rejected_rows_go_only_where_they_are_asked_for(hub: Hub, tmp_path: Path) -> None:
    _, manifest = published(tmp_path / "out")
    rejected = {file.path for file in manifest.rejected_files}
    assert push(hub, tmp_path / "out", "--with-rejected")[0] == 0
    assert rejected and rejected <= set(hub.files)
    configs = DatasetCard(hub.files["README.md"].decode()).data.configs
    assert [config["config_name"] for config in configs] == ["default", "rejected"]
    assert push(hub, tmp_path / "out")[0] == 0
    assert not rejected & set(hub.files)


def test_a_push_that_failed_in_the_middle_goes_on_where_it_stopped(hub: Hub, tmp_path: Path) -> None:
    _, manifest = published(tmp_path / "out")
    hub.faults, hub.uploads_before_fault = {"upload": (403, 1)}, 3
    code, _, err = push(hub, tmp_path / "out")
    assert (code, hub.commits) == (1, [])
    assert f"{ADDRESS}: wanted to write to the Hugging Face Hub, got a token that may not write there (HTTP 403)" in err
    sent = hub.uploads.total()
    assert 3 <= sent < len(manifest.files)
    code, _, err = push(hub, tmp_path / "out")
    assert (code, len(hub.commits)) == (0, 1), err
    assert set(hub.uploads.values()) == {1} and hub.uploads.total() == len(manifest.files)


@pytest.mark.parametrize(
    ("step", "status", "words"),
    [
        ("info", 401, "no dataset that this token may see (HTTP 401); set HF_TOKEN"),
        ("info", 404, "no such dataset or branch (HTTP 404); create it on the Hub first"),
        ("preupload", 403, "a token that may not write there (HTTP 403)"),
        ("commit", 412, "another commit since this push began (HTTP 412); push again"),
        ("commit", 429, "too many requests (HTTP 429); wait some minutes, then push again"),
        ("commit", 503, "a failure of the server (HTTP 503); wait, then push again"),
    ],
)
def test_what_the_hub_refuses_is_told_with_the_next_move(hub: Hub, tmp_path: Path, step: str, status: int, words: str) -> None:
    published(tmp_path / "out")
    hub.faults = {step: (status, 1)}
    code, _, err = push(hub, tmp_path / "out")
    assert (code, hub.commits) == (1, [])
    assert words in err and "Traceback" not in err


def test_a_wrong_address_or_no_token_is_told_before_anything_is_sent(hub: Hub, tmp_path: Path) -> None:
    published(tmp_path / "out")
    for address, code, words in (
        ("hf://models/owner/name", 2, "wanted hf://datasets/owner/name/path"),
        (f"{ADDRESS}/data", 2, "got a path behind it"),
        (f"{ADDRESS}@other", 1, "no such revision"),
        ("hf://datasets/owner/none", 1, "no such dataset or branch (HTTP 404)"),
    ):
        ended, _, err = push(hub, tmp_path / "out", address=address)
        assert ended == code and words in err
    code, _, err = push(hub, tmp_path / "out", HF_TOKEN="")
    assert code == 1 and "wanted a token of the Hub, got none; set HF_TOKEN" in err
    for settings, words in (
        ({"HF_HUB_OFFLINE": "1"}, "got HF_HUB_OFFLINE is set; unset it"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "got no connection (ConnectError); go online"),
    ):
        code, _, err = push(hub, tmp_path / "out", **settings)
        assert code == 1 and words in err


def test_a_part_that_is_not_the_manifests_is_not_pushed(hub: Hub, tmp_path: Path) -> None:
    _, manifest = published(tmp_path / "out")
    (tmp_path / "out" / manifest.files[-1].path).write_bytes(b"other bytes")
    code, _, err = push(hub, tmp_path / "out")
    assert (code, hub.commits) == (1, [])
    assert f"{manifest.files[-1].path}: wanted the part that manifest.json names, got other bytes" in err


def test_files_that_the_hub_keeps_as_plain_ones_are_pushed_and_found_again(hub: Hub, tmp_path: Path) -> None:
    hub.plain_files = True
    published(tmp_path / "out")
    assert push(hub, tmp_path / "out")[0] == 0
    assert "nothing to do" in push(hub, tmp_path / "out")[1]


def test_a_version_that_was_only_published_again_is_not_pushed_again(hub: Hub, tmp_path: Path) -> None:
    store, manifest = published(tmp_path / "out")
    hub.files["manifest.json"] = b"somebody else's"
    assert push(hub, tmp_path / "out")[0] == 0
    again = manifest.model_copy(update={"created_at": "2027-01-01T00:00:00Z", "cost": {"runs": 2}})
    write_manifest(store, again, replaces=manifest_etag(store))
    code, out, err = push(hub, tmp_path / "out")
    assert (code, len(hub.commits)) == (0, 1) and "nothing to do" in out, err


def test_another_version_replaces_the_one_before(hub: Hub, tmp_path: Path) -> None:
    store, first = published(tmp_path / "out")
    assert push(hub, tmp_path / "out")[0] == 0
    second = first.model_copy(update={"description": "Told anew."})
    write_manifest(store, second, replaces=manifest_etag(store))
    code, out, _ = push(hub, tmp_path / "out")
    assert (code, len(hub.commits), set(hub.uploads.values())) == (0, 2, {1})
    assert "2 files sent" not in out and "Told anew." in hub.files["README.md"].decode()
    assert json.loads(hub.files["manifest.json"])["description"] == "Told anew."


@pytest.mark.s3
def test_a_dataset_in_a_bucket_is_pushed_through_temporary_files(hub: Hub, moto_server: str, bucket: str, tmp_path: Path) -> None:
    prefix = f"s3://{bucket}/some/prefix"
    store, manifest = published(prefix, endpoint_url=moto_server)
    code, _, err = push(hub, prefix, AWS_ENDPOINT_URL=moto_server, TMPDIR=str(tmp_path))
    assert (code, len(hub.commits)) == (0, 1), err
    assert all(hub.files[file.path] == store.read(file.path) for file in manifest.files)
    assert list(tmp_path.iterdir()) == []
