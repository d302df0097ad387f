"""A registration killed at any of its writes, or whose answer is lost, and repeated: one snapshot, and every row once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from synth_ray.dataset.manifest import Manifest
from synth_ray.dataset.registrations import named_parts
from synth_ray.errors import StorageError
from synth_ray.job.output import Output
from synth_ray.lake.register import register_version
from synth_ray.storage import Retry
from tests.cutting_proxy import CuttingProxy, cutting_proxy_to
from tests.dying_storage import DyingStorage, Killed
from tests.published import make_dataset
from tests.servers import free_port
from tests.tables import FORMATS, QUICK, Place, new_place

OUTPUT = Output(path="unused", part_rows=10, row_group_rows=4)
ONCE = Retry(budget_s=0.0)


@pytest.fixture
def proxy(moto_server: str) -> Iterator[CuttingProxy]:
    with cutting_proxy_to(moto_server) as proxy:
        yield proxy


@pytest.fixture(params=FORMATS)
def new(
    request: pytest.FixtureRequest, tmp_path: Path, bucket: str, moto_server: str, proxy: CuttingProxy
) -> Callable[[str], Place]:
    """A function that makes a place of a name: the dataset is reached directly, its table through the proxy."""

    def make(name: str) -> Place:
        place = new_place(request.param, f"s3://{bucket}/{name}", tmp_path / f"{name}.db", moto_server)
        return replace(place, server=replace(place.server, endpoint_url=proxy.url))

    return make


def register(place: Place, manifest: Manifest, retry: Retry = QUICK) -> Any:
    return register_version(place.storage, manifest, place.sink, server=place.server, retry=retry)


def versions(place: Place) -> tuple[Manifest, Manifest]:
    """The published version, and the one before it, which is registered."""
    old = make_dataset(place.storage, OUTPUT, chunks=range(1))
    register(place, old)
    return old, make_dataset(place.storage, OUTPUT, chunks=range(2))


def assert_once(place: Place, old: Manifest, manifest: Manifest) -> None:
    assert place.snapshots() == [old.dataset_digest, manifest.dataset_digest]
    assert {split: len(ids) for split, ids in place.rows().items()} == manifest.splits


def count_writes(new: Callable[[str], Place], proxy: CuttingProxy) -> int:
    place = new("undisturbed")
    _, manifest = versions(place)
    proxy.mend()
    register(place, manifest)
    return proxy.mend()


@pytest.mark.slow
def test_a_kill_at_any_write_and_again_is_one_snapshot(new: Callable[[str], Place], proxy: CuttingProxy) -> None:
    writes = count_writes(new, proxy)
    assert writes >= 1
    for at in range(writes):
        # A client that finds its server gone takes seconds: of many writes, each is tested either before or after, in turn.
        for after in (False, True) if writes <= 2 else (bool(at % 2),):
            place = new(f"at-{at}-{after}")
            old, manifest = versions(place)
            proxy.cut(at, after=after, for_good=True)
            with pytest.raises(StorageError) as told:
                register(place, manifest, ONCE)
            assert "testing-secret-never-printed" not in str(told.value)
            proxy.mend()
            register(place, manifest)
            assert_once(place, old, manifest)


def test_an_answer_that_is_lost_is_looked_up(new: Callable[[str], Place], proxy: CuttingProxy) -> None:
    for at in range(count_writes(new, proxy)):
        place = new(f"lost-{at}")
        old, manifest = versions(place)
        proxy.cut(at, after=True, for_good=False)
        register(place, manifest)
        proxy.mend()
        assert_once(place, old, manifest)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_kill_at_any_note_of_the_dataset_leaves_no_part_to_be_removed(kind: str, tmp_path: Path) -> None:
    for at in range(2):
        for after in (False, True):
            place = new_place(kind, str(tmp_path / f"{at}-{after}"), tmp_path / f"{at}-{after}.db")
            old, manifest = versions(place)
            with pytest.raises(Killed):
                register_version(DyingStorage(place.storage, at=at, after=after), manifest, place.sink, retry=ONCE)
            shown = place.rows()
            parts = {f.path for f in (old if len(place.snapshots()) == 1 else manifest).files}
            assert kind == "lance" or parts <= named_parts(place.storage).live
            assert sum(map(len, shown.values())) in (sum(old.splits.values()), sum(manifest.splits.values()))
            register(place, manifest)
            assert_once(place, old, manifest)


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("after", [False, True])
def test_a_kill_or_a_lost_answer_at_the_swap_of_an_iceberg_catalog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_first: bool, after: bool
) -> None:
    from pyiceberg.catalog.sql import SqlCatalog
    from pyiceberg.exceptions import CommitStateUnknownException

    whole = SqlCatalog.commit_table
    for error in (Killed("here"), CommitStateUnknownException("no answer"), TimeoutError("no answer")):
        place = new_place("iceberg", str(tmp_path / type(error).__name__), tmp_path / f"{type(error).__name__}.db")
        if is_first:
            manifest = make_dataset(place.storage, OUTPUT)
        else:
            old, manifest = versions(place)

        def broken(*arguments: Any, error: BaseException = error) -> Any:
            monkeypatch.setattr(SqlCatalog, "commit_table", whole)
            if after:
                whole(*arguments)
            raise error

        monkeypatch.setattr(SqlCatalog, "commit_table", broken)
        if isinstance(error, Killed):
            with pytest.raises(Killed):
                register(place, manifest)
        register(place, manifest)
        assert place.snapshots() == [*([] if is_first else [old.dataset_digest]), manifest.dataset_digest]
        assert {split: len(ids) for split, ids in place.rows().items()} == manifest.splits


def test_a_catalog_that_is_down_is_told_and_nothing_is_unpublished(tmp_path: Path) -> None:
    from synth_ray.job.sinks import Sink

    place = new_place("iceberg", str(tmp_path / "out"), tmp_path / "c.db")
    manifest = make_dataset(place.storage, OUTPUT)
    sink = Sink(format="iceberg", table="a.b", catalog={"type": "rest", "uri": f"http://127.0.0.1:{free_port()}"})
    with pytest.raises(StorageError, match="see that the table can be reached"):
        register_version(place.storage, manifest, sink, retry=ONCE)
    assert place.storage.exists("manifest.json")
