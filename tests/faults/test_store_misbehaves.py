"""A store behind a proxy with faults: transient faults are retried, permanent faults stop the run cleanly. S3, GCS and Azure."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable, Iterator

import pytest

from synth_ray.dataset.lease import Lease
from synth_ray.dataset.ledger import Ledger
from synth_ray.dataset.manifest import read_manifest
from synth_ray.errors import Conflict, ObjectNotFound, StorageError
from synth_ray.job.output import Output
from synth_ray.storage import Retry, Storage, open_storage
from synth_ray.storage.part_buffer import PART_BYTES
from tests.cloud_servers import ENVIRONMENT, REMOTE, Place, new_place
from tests.proxy import TRANSIENT, Proxy, SeenRequest, proxy_to
from tests.published import make_dataset
from tests.rows import staged_chunk
from tests.servers import CREDENTIALS, EXTERNAL_S3

OUTPUT = Output(path="unused", part_rows=10, row_group_rows=4)
SECRETS = [CREDENTIALS[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")]
SECRETS += [ENVIRONMENT[name] for name in ("AZURE_STORAGE_ACCOUNT_KEY", "GOOGLE_BEARER_TOKEN")]
CONDITIONS = {"x-goog-if-generation-match", "if-none-match", "if-match"}


@pytest.fixture(params=REMOTE)
def place(request: pytest.FixtureRequest) -> Place:
    return new_place(request.param, request)


@pytest.fixture
def proxy(place: Place) -> Iterator[Proxy]:
    with proxy_to(str(place.endpoint_url)) as proxy:
        yield proxy


def retry_without_waits(tries: int = 50) -> Retry:
    """Retries without waiting: the clock counts the tries."""
    tries_so_far = iter(range(10**9))
    return Retry(budget_s=tries, clock=lambda: float(next(tries_so_far)), sleep=lambda _: None, uniform=lambda low, _: low)


def behind(proxy: Proxy, place: Place, *, retry: Retry | None = None, timeout_s: float = 10.0) -> Storage:
    retry = retry or retry_without_waits()
    return open_storage(f"{place.url}/out", endpoint_url=proxy.url, retry=retry, timeout_s=timeout_s)


def clear(place: Place, name: str = "out") -> Storage:
    return open_storage(f"{place.url}/{name}", endpoint_url=place.endpoint_url)


def fault_once(fault: str, *, method: str, part: str = "") -> Callable[[SeenRequest], str | None]:
    """A plan with the fault for the first request of this method whose path contains `part`."""
    matched: list[SeenRequest] = []

    def plan(seen: SeenRequest) -> str | None:
        if matched or seen.method != method or part not in seen.path:
            return None
        matched.append(seen)
        return fault

    return plan


@pytest.mark.parametrize("fault", TRANSIENT)
def test_a_run_through_transient_faults_makes_the_same_dataset(proxy: Proxy, place: Place, fault: str) -> None:
    wanted = make_dataset(clear(place, "clear"), OUTPUT)
    draw = random.Random(fault)
    share = 0.2 if fault == "hang" else 0.35
    proxy.plan = lambda _: fault if draw.random() < share else None
    manifest = make_dataset(behind(proxy, place, timeout_s=0.3 if fault == "hang" else 10.0), OUTPUT)
    assert len(proxy.faults) >= 2
    assert manifest == wanted
    out, other = clear(place), clear(place, "clear")
    assert read_manifest(out) == wanted
    # The objects are exactly those of the run without faults, byte for byte.
    objects = {e.path: out.read(e.path) for e in out.list() if e.path != "README.md"}
    assert objects == {e.path: other.read(e.path) for e in other.list() if e.path != "README.md"}
    assert list(Ledger(out).orphans()) == []


@pytest.mark.parametrize("fault", ["reset_after", "torn"])
def test_a_conditional_write_whose_response_was_lost_recognises_its_own_object(proxy: Proxy, place: Place, fault: str) -> None:
    store = behind(proxy, place)
    proxy.plan = fault_once(fault, method="PUT")
    etag = store.create("x", b"first")
    proxy.plan = fault_once(fault, method="PUT")
    second = store.swap("x", b"second", etag)
    assert store.read("x") == b"second"
    for write in (lambda: store.create("x", b"second"), lambda: store.swap("x", b"another", etag)):
        proxy.plan = fault_once(fault, method="PUT")
        with pytest.raises(Conflict):
            write()
    assert store.etag("x") == second
    assert len(proxy.faults) == 4


PARTS = [("POST", "uploads"), ("PUT", "partNumber=2"), ("POST", "uploadId")]
STEPS = {"s3": PARTS, "gs": PARTS, "az": [("PUT", "comp=block&"), ("PUT", "blocklist")]}


@pytest.mark.parametrize("fault", ["reset_before", "reset_after", "slow_down"])
def test_an_upload_in_parts_survives_a_fault_at_each_step(proxy: Proxy, place: Place, fault: str) -> None:
    retry = Retry(budget_s=30, first_s=0.01, longest_s=0.05)
    store = open_storage(f"{place.url}/out", endpoint_url=proxy.url, retry=retry, timeout_s=30)
    data = b"0123456789abcdef" * (PART_BYTES // 16) + b"the end"
    for step, (method, part) in enumerate(STEPS[place.url[:2]]):
        proxy.plan = fault_once(fault, method=method, part=part)
        with store.upload(f"big-{step}") as out:
            out.write(data)
        assert len(proxy.faults) == step + 1
        assert store.read(f"big-{step}") == data


def test_an_upload_that_fails_for_good_leaves_nothing_visible(proxy: Proxy, place: Place) -> None:
    store = open_storage(f"{place.url}/out", endpoint_url=proxy.url, retry=Retry(budget_s=0.2))

    def plan(seen: SeenRequest) -> str | None:
        return "slow_down" if "partNumber=2" in seen.path or "comp=block&" in seen.path else None

    proxy.plan = plan
    with pytest.raises(StorageError, match=r"SlowDown \(503\); see that the store is up"), store.upload("big") as out:
        for _ in range(4):
            out.write(bytes(PART_BYTES))
    assert list(clear(place).list()) == []


@pytest.mark.parametrize("fault", ["internal", "reset_before", "torn"])
def test_a_truncated_or_failed_read_is_retried(proxy: Proxy, place: Place, fault: str) -> None:
    store = behind(proxy, place)
    store.write("x", b"0123456789" * 1000)
    for read in (lambda: store.read("x"), lambda: store.open_input("x").read(), lambda: store.read_range("x", 0, 10_000)):
        proxy.plan = fault_once(fault, method="GET")
        assert read() == b"0123456789" * 1000
    proxy.plan = fault_once(fault, method="GET", part="comp=list" if place.url.startswith("az") else "list")
    assert [entry.path for entry in store.list()] == ["x"]
    ledger, table = Ledger(store), staged_chunk(0, 50)
    ledger.commit_chunk(0, table, {})
    for part in ("commits", "chunks"):
        proxy.plan = fault_once(fault, method="GET", part=part)
        assert ledger.read_chunk(0).equals(table)
    assert len(proxy.faults) == 6


def test_a_store_that_stays_overloaded_fails_when_the_retry_budget_is_spent(proxy: Proxy, place: Place) -> None:
    store = behind(proxy, place, retry=retry_without_waits(tries=5))
    proxy.plan = lambda _: "slow_down"
    with pytest.raises(StorageError, match=r"SlowDown \(503\); see that the store is up") as caught:
        store.write("x", b"1")
    assert not isinstance(caught.value, (ObjectNotFound, Conflict))
    assert 3 <= len(proxy.seen) <= (7 if place.url.startswith("s3") else 14)  # of each try, obstore makes two


STOPS = [("expired", "expired"), ("denied", "no permission"), ("full", "a full store; free some space")]


@pytest.mark.parametrize(("fault", "message"), STOPS)
def test_a_permanent_fault_stops_a_run_cleanly_and_the_next_run_resumes(
    proxy: Proxy, place: Place, caplog: pytest.LogCaptureFixture, fault: str, message: str
) -> None:
    wanted = make_dataset(clear(place, "clear"), OUTPUT).dataset_digest
    out = clear(place)
    caplog.set_level(logging.DEBUG, logger="synth_ray")
    for at in (0, 4, 9, 14):
        proxy.seen.clear()
        proxy.plan = lambda seen, at=at: fault if seen.number >= at else None  # type: ignore[misc]
        with pytest.raises(StorageError, match=message) as caught:
            make_dataset(behind(proxy, place), OUTPUT)
        told = f"{caught.value!r}{caught.value.__cause__!r}{caplog.text}"
        assert not [secret for secret in (*SECRETS, "Signature", "SharedKey", "echo:") if secret in told]
        with pytest.raises(ObjectNotFound):
            read_manifest(out)
    assert make_dataset(out, OUTPUT).dataset_digest == wanted


def test_a_stale_listing_repeats_work_but_loses_no_row(proxy: Proxy, place: Place) -> None:
    """A chunk that the listing hides is staged again, and the first commit still counts."""
    ledger = Ledger(behind(proxy, place))
    first = ledger.commit_chunk(0, staged_chunk(0, 5), {})
    assert ledger.commit_chunk(0, staged_chunk(0, 6), {}) == first
    assert ledger.read_chunk(0).num_rows == 5


def test_a_lease_whose_renewal_response_was_lost_stays_valid(proxy: Proxy, place: Place) -> None:
    store = behind(proxy, place)
    proxy.plan = fault_once("reset_after", method="PUT")
    lease = Lease.claim(store, "one")
    for act in (lease.renew, lease.renew, lease.release):
        proxy.plan = fault_once("reset_after", method="PUT")
        act()
    assert len(proxy.faults) == 4


S3_SIGNS_THEM = pytest.mark.skipif(EXTERNAL_S3 in os.environ, reason="a real signature covers the headers that are removed here")
IGNORED = [{"if-none-match"}, {"if-match"}, {"if-none-match", "if-match"}]


@pytest.mark.parametrize(
    ("place", "ignored"),
    [
        *[pytest.param("s3", ignored, marks=[pytest.mark.s3, S3_SIGNS_THEM]) for ignored in IGNORED],
        ("gs", {"x-goog-if-generation-match"}),  # Azure's signature covers them
    ],
    indirect=["place"],
)
def test_the_probe_detects_a_store_that_ignores_conditional_writes(proxy: Proxy, place: Place, ignored: set[str]) -> None:
    store = behind(proxy, place)
    assert store.probe_conditional()
    proxy.strip = frozenset(ignored)
    assert not store.probe_conditional()
    assert list(store.list()) == []


def test_a_store_without_conditional_writes_is_detected_and_works_with_a_single_writer(proxy: Proxy, place: Place) -> None:
    proxy.plan = lambda seen: "not_implemented" if CONDITIONS & {name.lower() for name in seen.headers} else None
    assert not behind(proxy, place).probe_conditional()
    store = open_storage(f"{place.url}/out", endpoint_url=proxy.url, single_writer=True)
    etag = store.create("x", b"1")
    with pytest.raises(Conflict):
        store.create("x", b"2")
    store.swap("x", b"3", etag)
    with pytest.raises(Conflict):
        store.swap("x", b"4", etag)
    assert store.read("x") == b"3"
