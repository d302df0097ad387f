"""Die at every write n, before or after it: a reader sees the old dataset or the new; the next run ends the same."""

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
from tests.dying import DyingStorage, Killed
from tests.published import make_dataset, shape_of

OUTPUT = Output(path="unused", part_rows=10, row_group_rows=4)
OLD, NEW = range(1), range(2)

KINDS = ["local", pytest.param("s3", marks=pytest.mark.s3)]


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A maker of empty stores."""
    if request.param == "local":
        return lambda name: open_storage(str(tmp_path / name))
    bucket, server = request.getfixturevalue("bucket"), request.getfixturevalue("moto_server")
    return lambda name: open_storage(f"s3://{bucket}/{name}", endpoint_url=server, retry=Retry(budget_s=5))


def run(storage: Storage, chunks: Iterable[int]) -> None:
    """A driver's life on the store: claim, stage, publish, release."""
    lease = Lease.claim(storage, "driver", now=0.0, is_dead=lambda _: True)
    Ledger(storage).pin_job({"ask_digest": "ask0", "keys": {}})
    make_dataset(storage, OUTPUT, chunks=chunks)
    lease.release()


def digest_of(storage: Storage, paths: Iterable[str]) -> str:
    """The dataset digest as a reader of exactly these files finds it."""
    schema = str(shape_of(OUTPUT).accepted_schema).encode()
    digests = {split: hashlib.blake2b(schema, digest_size=16) for split in SPLITS}
    rows = dict.fromkeys(SPLITS, 0)
    for path in paths:
        split = path.split("/")[1].removeprefix("split=")
        with storage.open_input(path) as file:
            table = pq.ParquetFile(file).read()
        digests[split].update(b"".join(digests_and_sizes(table)[0]))
        rows[split] += table.num_rows
    whole = hashlib.blake2b(digest_size=16)
    for split in SPLITS:
        whole.update(f"{split}:{rows[split]}:{digests[split].hexdigest()};".encode())
    return whole.hexdigest()


def seen_by_manifest(storage: Storage) -> str | None:
    try:
        manifest = read_manifest(storage)
    except ObjectNotFound:
        return None
    manifest.check()
    for file in [*manifest.files, *manifest.rejected_files]:
        assert hashlib.sha256(storage.read(file.path)).hexdigest() == file.sha256
    found = digest_of(storage, [file.path for file in manifest.files])
    assert found == manifest.dataset_digest
    return found


def seen_by_card(storage: Storage) -> str | None:
    try:
        card = storage.read(CARD).decode()
    except ObjectNotFound:
        return None
    files = yaml.safe_load(card.split("---\n")[1])["configs"][0]["data_files"]
    return digest_of(storage, [path for one in files for path in one["path"]]) if files else None


def committed(storage: Storage) -> dict[str, bytes]:
    return {entry.path: storage.read(entry.path) for entry in storage.list(COMMITS)}


def test_a_first_run_killed_at_any_write_publishes_nothing_or_everything_and_resumes(place: Any) -> None:
    whole = DyingStorage(place("whole"), at=None)
    run(whole, OLD)
    wanted = seen_by_manifest(whole)
    assert wanted == seen_by_card(whole)
    assert [e.split("/")[-1] for e in whole.effects[-3:]] == ["create manifest.json", "write README.md", "driver.json"]
    for at in range(len(whole.effects)):
        # A bucket's requests are slow: there, every other write dies after it.
        for after in (False, True) if "://" not in whole.url else (bool(at % 2),):
            store = place(f"{at}-{after}")
            with pytest.raises(Killed):
                run(DyingStorage(store, at=at, after=after), OLD)
            assert seen_by_manifest(store) in (None, wanted)
            assert seen_by_card(store) in (None, wanted)
            before = committed(store)
            again = DyingStorage(store, at=None)
            run(again, OLD)
            assert seen_by_manifest(store) == seen_by_card(store) == wanted
            # What was committed when the first run died is neither staged again nor changed.
            assert before.items() <= committed(store).items()
            asked = {int(e.split("/")[-1][:8]) for e in again.effects if e.startswith(f"create {COMMITS}")}
            assert asked == set(OLD) - {int(path[-13:-5]) for path in before}


def test_a_new_version_killed_at_any_write_leaves_the_old_or_the_new_version(place: Any) -> None:
    store = place("whole")
    run(store, OLD)
    old = seen_by_manifest(store)
    whole = DyingStorage(store, at=None)
    run(whole, NEW)
    new = seen_by_manifest(store)
    assert old != new
    for at in range(len(whole.effects)):
        store = place(f"{at}")
        run(store, OLD)
        with pytest.raises(Killed):
            run(DyingStorage(store, at=at, after=bool(at % 2)), NEW)
        assert seen_by_manifest(store) in (old, new)
        assert seen_by_card(store) in (old, new)
        run(store, NEW)
        assert seen_by_manifest(store) == seen_by_card(store) == new


def test_a_run_killed_repeatedly_ends_with_the_same_dataset(place: Any) -> None:
    run(place("whole"), NEW)
    wanted = seen_by_manifest(place("whole"))
    draw = random.Random(5)
    store = place("torn")
    for _ in range(12):
        try:
            run(DyingStorage(store, at=draw.randrange(24), after=draw.random() < 0.5), NEW)
        except Killed:
            assert seen_by_manifest(store) in (None, wanted)
    run(store, NEW)
    assert seen_by_manifest(store) == seen_by_card(store) == wanted
    Ledger(store).sweep(now=4e9)
    assert len(list(store.list(CHUNKS))) == len(NEW)
    assert [Ledger(store).read(chunk).num_rows for chunk in NEW] == [16, 16]
