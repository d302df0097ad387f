"""A bucket behind a proxy with faults: transient faults are retried, permanent faults stop the run cleanly."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from synth_ray.dataset.lease import Lease
from synth_ray.dataset.ledger import Ledger
from synth_ray.dataset.manifest import read_manifest
from synth_ray.errors import Conflict, ObjectNotFound, StorageError
from synth_ray.job.output import Output
from synth_ray.storage import Retry, Storage, open_storage
from synth_ray.storage.part_buffer import PART_BYTES
from tests.proxy import TRANSIENT, Proxy, SeenRequest, proxy_to
from tests.published import make_dataset
from tests.rows import staged_chunk
from tests.servers import CREDENTIALS, EXTERNAL_S3

pytestmark = pytest.mark.s3

OUTPUT = Output(path="unused", part_rows=10, row_group_rows=4)


@pytest.fixture
def proxy(moto_server: str) -> Iterator[Proxy]:
    with proxy_to(moto_server) as proxy:
        yield proxy


def retry_without_waits(tries: int = 50) -> Retry:
    """Retries without waiting: the clock counts the tries."""
    tries_so_far = iter(range(10**9))
    return Retry(budget_s=tries, clock=lambda: float(next(tries_so_far)), sleep=lambda _: None, uniform=lambda low, _: low)


def behind(proxy: Proxy, bucket: str, *, retry: Retry | None = None, timeout_s: float = 10.0) -> Storage:
    retry = retry or retry_without_waits()
    return open_storage(f"s3://{bucket}/out", endpoint_url=proxy.url, retry=retry, timeout_s=timeout_s)


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
def test_a_run_through_transient_faults_makes_the_same_dataset(proxy: Proxy, bucket: str, moto_server: str, fault: str) -> None:
    clear = open_storage(f"s3://{bucket}/clear", endpoint_url=moto_server)
    wanted = make_dataset(clear, OUTPUT)
    draw = random.Random(fault)
    share = 0.25 if fault == "hang" else 0.35
    proxy.plan = lambda _: fault if draw.random() < share else None
    manifest = make_dataset(behind(proxy, bucket, timeout_s=0.3 if fault == "hang" else 10.0), OUTPUT)
    assert len(proxy.faults) >= 2
    assert manifest == wanted
    out = open_storage(f"s3://{bucket}/out", endpoint_url=moto_server)
    assert read_manifest(out) == wanted
    # The objects are exactly those of the run without faults, byte for byte.
    objects = {e.path: out.read(e.path) for e in out.list() if e.path != "README.md"}
    assert objects == {e.path: clear.read(e.path) for e in clear.list() if e.path != "README.md"}
    assert list(Ledger(out).orphans()) == []


@pytest.mark.parametrize("fault", ["reset_after", "torn"])
def test_a_conditional_write_whose_response_was_lost_recognises_its_own_object(proxy: Proxy, bucket: str, fault: str) -> None:
    store = behind(proxy, bucket)
    proxy.plan = fault_once(fault, method="PUT")
    etag = store.create("x", b"first")
    proxy.plan = fault_once(fault, method="PUT")
    second = store.swap("x", b"second", etag)
    assert store.read("x") == b"second"
    proxy.plan = fault_once(fault, method="PUT")
    with pytest.raises(Conflict):
        store.create("x", b"second")
    proxy.plan = fault_once(fault, method="PUT")
    with pytest.raises(Conflict):
        store.swap("x", b"another", etag)
    assert store.etag("x") == second
    assert len(proxy.faults) == 4


@pytest.mark.parametrize("fault", ["reset_before", "reset_after", "slow_down"])
@pytest.mark.parametrize(("method", "part"), [("POST", "uploads"), ("PUT", "partNumber=2"), ("POST", "uploadId")])
def test_a_multipart_upload_survives_a_fault_at_each_step(proxy: Proxy, bucket: str, fault: str, method: str, part: str) -> None:
    store = open_storage(f"s3://{bucket}/out", endpoint_url=proxy.url, retry=retry_without_waits(), timeout_s=30)
    proxy.plan = fault_once(fault, method=method, part=part)
    data = b"0123456789abcdef" * (PART_BYTES // 16) + b"the end"
    with store.upload("big") as out:
        out.write(data)
    assert len(proxy.faults) == 1
    assert store.read("big") == data


@pytest.mark.parametrize("fault", ["internal", "reset_before", "torn"])
def test_a_truncated_or_failed_read_is_retried(proxy: Proxy, bucket: str, fault: str) -> None:
    store = behind(proxy, bucket)
    ledger, table = Ledger(store), staged_chunk(0, 50)
    ledger.commit_chunk(0, table, {})
    for part in ("commits", "chunks"):
        proxy.plan = fault_once(fault, method="GET", part=part)
        assert ledger.read_chunk(0).equals(table)
    proxy.plan = fault_once(fault, method="GET", part="chunks")
    with store.open_input(ledger.read_commit(0).object) as file:
        assert len(file.read()) == ledger.read_commit(0).size_bytes
    assert len(proxy.faults) == 3


def test_a_store_that_stays_overloaded_fails_when_the_retry_budget_is_spent(proxy: Proxy, bucket: str) -> None:
    store = behind(proxy, bucket, retry=retry_without_waits(tries=5))
    proxy.plan = lambda _: "slow_down"
    with pytest.raises(StorageError, match=r"SlowDown \(503\); see that the store is up") as caught:
        store.write("x", b"1")
    assert not isinstance(caught.value, (ObjectNotFound, Conflict))
    assert 3 <= len(proxy.seen) <= 7


STOPS = [
    ("expired", "expired"),
    ("denied", "no permission"),
    ("full", "a full store; free some space"),
]


@pytest.mark.parametrize(("fault", "message"), STOPS)
def test_a_permanent_fault_stops_a_run_cleanly_and_the_next_run_resumes(
    proxy: Proxy, bucket: str, moto_server: str, caplog: pytest.LogCaptureFixture, fault: str, message: str
) -> None:
    wanted = make_dataset(open_storage(f"s3://{bucket}/clear", endpoint_url=moto_server), OUTPUT).dataset_digest
    out = open_storage(f"s3://{bucket}/out", endpoint_url=moto_server)
    caplog.set_level(logging.DEBUG, logger="synth_ray")
    for at in (0, 4, 9, 14):
        proxy.seen.clear()
        proxy.plan = lambda seen, at=at: fault if seen.number >= at else None  # type: ignore[misc]
        with pytest.raises(StorageError, match=message) as caught:
            make_dataset(behind(proxy, bucket), OUTPUT)
        for secret in (*CREDENTIALS.values(), "Signature", "echo:"):
            if secret not in ("us-east-1", "true"):
                assert secret not in f"{caught.value!r}{caught.value.__cause__!r}{caplog.text}"
        with pytest.raises(ObjectNotFound):
            read_manifest(out)
    assert make_dataset(out, OUTPUT).dataset_digest == wanted


def test_a_stale_listing_repeats_work_but_loses_no_row(proxy: Proxy, bucket: str) -> None:
    """A chunk that the listing hides is staged again, and the first commit still counts."""
    ledger = Ledger(behind(proxy, bucket))
    first = ledger.commit_chunk(0, staged_chunk(0, 5), {})
    assert ledger.commit_chunk(0, staged_chunk(0, 6), {}) == first
    assert ledger.read_chunk(0).num_rows == 5


def test_a_lease_whose_renewal_response_was_lost_stays_valid(proxy: Proxy, bucket: str) -> None:
    store = behind(proxy, bucket)
    proxy.plan = fault_once("reset_after", method="PUT")
    lease = Lease.claim(store, "one")
    for act in (lease.renew, lease.renew, lease.release):
        proxy.plan = fault_once("reset_after", method="PUT")
        act()
    assert len(proxy.faults) == 4


@pytest.mark.skipif(EXTERNAL_S3 in os.environ, reason="a real signature covers the headers that the proxy removes here")
@pytest.mark.parametrize("ignores", [{"if-none-match"}, {"if-match"}, {"if-none-match", "if-match"}])
def test_the_probe_detects_a_store_that_ignores_conditional_writes(proxy: Proxy, bucket: str, ignores: set[str]) -> None:
    store = behind(proxy, bucket)
    assert store.probe_conditional()
    proxy.strip = frozenset(ignores)
    assert not store.probe_conditional()
    assert list(store.list()) == []


def test_a_store_without_conditional_writes_is_detected_and_works_with_a_single_writer(proxy: Proxy, bucket: str) -> None:
    proxy.plan = lambda seen: "not_implemented" if {"If-None-Match", "If-Match"} & set(seen.headers) else None
    assert not behind(proxy, bucket).probe_conditional()
    store: Any = open_storage(f"s3://{bucket}/out", endpoint_url=proxy.url, single_writer=True)
    etag = store.create("x", b"1")
    with pytest.raises(Conflict):
        store.create("x", b"2")
    store.swap("x", b"3", etag)
    with pytest.raises(Conflict):
        store.swap("x", b"4", etag)
    assert store.read("x") == b"3"
