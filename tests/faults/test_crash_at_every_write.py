"""A run killed at every write, before or after it: readers see the old or the new dataset, and the next run ends the same."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from synth_ray.dataset.card import PATH as CARD
from synth_ray.dataset.lease import Lease
from synth_ray.dataset.ledger import CHUNKS, COMMITS, Ledger
from synth_ray.dataset.manifest import read_manifest
from synth_ray.dataset.row_digest import digests_and_sizes
from synth_ray.errors import ObjectNotFound
from synth_ray.job.output import Output
from synth_ray.records import SPLITS
from synth_ray.storage import Retry, Storage, open_storage
from tests.dying_storage import DyingStorage, Killed
from tests.published import make_dataset, shape_of

OUTPUT = Output(path="unused", part_rows=10, row_group_rows=4)
OLD, NEW = range(1), range(2)

KINDS = ["local", pytest.param("s3", marks=pytest.mark.s3)]


@pytest.fixture(params=KINDS)
def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A function that makes an empty store of a name."""
    if request.param == "local":
        return lambda name: open_storage(str(tmp_path / name))
    bucket, server = request.getfixturevalue("bucket"), request.getfixturevalue("moto_server")
    return lambda name: open_storage(f"s3://{bucket}/{name}", endpoint_url=server, retry=Retry(budget_s=5))


def run(storage: Storage, chunks: Iterable[int]) -> None:
    """All of a driver's writes: claim the lease, pin the job, stage, publish, release."""
    lease = Lease.claim(storage, "driver", is_dead=lambda _: True)
    Ledger(storage).pin_or_compare({"ask_digest": "ask0", "keys": {}})
    make_dataset(storage, OUTPUT, chunks=chunks)
    lease.release()


def digest_of(storage: Storage, paths: Iterable[str]) -> str:
    """The dataset digest computed from exactly these files."""
    schema = str(shape_of(OUTPUT).accepted_schema).encode()
    digests = {split: hashlib.blake2b(schema, digest_size=16) for split in SPLITS}
    rows = dict.fromkeys(SPLITS, 0)
    for path in paths:
        split = path.split("/")[1].removeprefix("split=")
        with storage.open_input(path) as file:
            table = pq.ParquetFile(file).read()
        digests[split].update(b"".join(digests_and_sizes(table)[0]))
        rows[split] += table.num_rows
    digest = hashlib.blake2b(digest_size=16)
    for split in SPLITS:
        digest.update(f"{split}:{rows[split]}:{digests[split].hexdigest()};".encode())
    return digest.hexdigest()


def digest_by_manifest(storage: Storage) -> str | None:
    try:
        manifest = read_manifest(storage)
    except ObjectNotFound:
        return None
    manifest.check()
    for file in [*manifest.files, *manifest.rejected_files]:
        assert hashlib.sha256(storage.read(file.path)).hexdigest() == file.sha256
    digest = digest_of(storage, [file.path for file in manifest.files])
    assert digest == manifest.dataset_digest
    return digest


def digest_by_card(storage: Storage) -> str | None:
    try:
        card = storage.read(CARD).decode()
    except ObjectNotFound:
        return None
    files = yaml.safe_load(card.split("---\n")[1])["configs"][0]["data_files"]
    return digest_of(storage, [path for entry in files for path in entry["path"]]) if files else None


def commit_records(storage: Storage) -> dict[str, bytes]:
    return {entry.path: storage.read(entry.path) for entry in storage.list(COMMITS)}


def test_a_first_run_killed_at_any_write_publishes_nothing_or_everything_and_resumes(new_store: Any) -> None:
    undisturbed = DyingStorage(new_store("undisturbed"), at=None)
    run(undisturbed, OLD)
    wanted = digest_by_manifest(undisturbed)
    assert wanted == digest_by_card(undisturbed)
    assert [e.split("/")[-1] for e in undisturbed.writes[-4:]] == [
        "create manifest.json",
        "examples.json",
        "write README.md",
        "driver.json",
    ]
    for at in range(len(undisturbed.writes)):
        # A bucket's requests are slow: there, each write is tested either before or after, in turn.
        for after in (False, True) if "://" not in undisturbed.url else (bool(at % 2),):
            store = new_store(f"{at}-{after}")
            with pytest.raises(Killed):
                run(DyingStorage(store, at=at, after=after), OLD)
            assert digest_by_manifest(store) in (None, wanted)
            assert digest_by_card(store) in (None, wanted)
            before = commit_records(store)
            resumed = DyingStorage(store, at=None)
            run(resumed, OLD)
            assert digest_by_manifest(store) == digest_by_card(store) == wanted
            # Chunks committed when the first run died are neither staged again nor changed.
            assert before.items() <= commit_records(store).items()
            staged = {int(e.split("/")[-1][:8]) for e in resumed.writes if e.startswith(f"create {COMMITS}")}
            assert staged == set(OLD) - {int(path[-13:-5]) for path in before}


def test_a_new_version_killed_at_any_write_leaves_the_old_or_the_new_version(new_store: Any) -> None:
    store = new_store("undisturbed")
    run(store, OLD)
    old = digest_by_manifest(store)
    undisturbed = DyingStorage(store, at=None)
    run(undisturbed, NEW)
    new = digest_by_manifest(store)
    assert old != new
    for at in range(len(undisturbed.writes)):
        store = new_store(f"{at}")
        run(store, OLD)
        with pytest.raises(Killed):
            run(DyingStorage(store, at=at, after=bool(at % 2)), NEW)
        assert digest_by_manifest(store) in (old, new)
        assert digest_by_card(store) in (old, new)
        run(store, NEW)
        assert digest_by_manifest(store) == digest_by_card(store) == new


def test_a_run_killed_repeatedly_ends_with_the_same_dataset(new_store: Any) -> None:
    run(new_store("undisturbed"), NEW)
    wanted = digest_by_manifest(new_store("undisturbed"))
    draw = random.Random(5)
    store = new_store("killed")
    for _ in range(12):
        try:
            run(DyingStorage(store, at=draw.randrange(24), after=draw.random() < 0.5), NEW)
        except Killed:
            assert digest_by_manifest(store) in (None, wanted)
    run(store, NEW)
    assert digest_by_manifest(store) == digest_by_card(store) == wanted
    Ledger(store).delete_orphans(now=4e9)
    assert len(list(store.list(CHUNKS))) == len(NEW)
    assert [Ledger(store).read_chunk(chunk).num_rows for chunk in NEW] == [16, 16]
