from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from botocore.exceptions import ClientError

from synth_ray.errors import ObjectNotFound, StorageError
from synth_ray.storage import Retry, open_file, open_storage
from synth_ray.storage.retry import store_calls
from synth_ray.storage.s3 import S3Storage
from synth_ray.storage.s3_client import client_for
from tests.servers import CREDENTIALS

pytestmark = pytest.mark.s3

KILLED = """
import os, signal, sys
from synth_ray.storage import open_storage
with open_storage(sys.argv[1], endpoint_url=sys.argv[2]).upload("big/x") as out:
    out.write(b"x" * 20 * 2**20)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_upload_is_invisible_and_is_swept(moto_server: str, bucket: str) -> None:
    url = f"s3://{bucket}/out"
    assert subprocess.run([sys.executable, "-c", KILLED, url, moto_server], check=False).returncode == -9
    store = open_storage(url, endpoint_url=moto_server)
    assert list(store.list()) == []
    # moto dates every upload to 2010; test_local.py covers that recent uploads are kept.
    assert store.sweep_uploads(older_than_s=-60) == 1
    assert store.sweep_uploads(older_than_s=-60) == 0


def test_a_prefix_is_a_folder_and_not_the_start_of_a_name(moto_server: str, bucket: str) -> None:
    sibling = open_storage(f"s3://{bucket}/out2", endpoint_url=moto_server)
    sibling.write("x", b"1")
    assert list(open_storage(f"s3://{bucket}/out", endpoint_url=moto_server).list()) == []
    assert [e.path for e in open_storage(f"s3://{bucket}", endpoint_url=moto_server).list()] == ["out2/x"]


def test_a_listing_follows_its_pages(moto_server: str, bucket: str) -> None:
    client = client_for(moto_server, None, 60.0)
    store = S3Storage(bucket, "many", client=client, retry=Retry(), page_keys=7)
    names = [f"commits/{n:08d}.json" for n in range(30)]
    for name in names:
        store.write(name, b"")
    assert [entry.path for entry in store.list("commits/")] == names


def test_more_objects_than_one_request_takes_are_deleted(moto_server: str, bucket: str) -> None:
    store = open_storage(f"s3://{bucket}", endpoint_url=moto_server)
    store.write("kept", b"")
    store.write("gone", b"")
    before = store_calls().sent
    store.delete_many([*(f"missing/{n}" for n in range(1500)), "gone"])
    assert store_calls().sent - before == 2
    assert [entry.path for entry in store.list()] == ["kept"]


class Refusing:
    """A client whose first answers to DeleteObjects are these: errors by key, or an error of the whole request."""

    def __init__(self, client: Any, *answers: dict[str, str] | str) -> None:
        self._client, self._answers = client, list(answers)
        self.asked: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def delete_objects(self, *, Bucket: str, Delete: dict[str, Any]) -> Any:
        self.asked.append(len(Delete["Objects"]))
        answer: Any = self._answers.pop(0) if self._answers else {}
        if isinstance(answer, str):
            raise ClientError({"Error": {"Code": answer}}, "DeleteObjects")
        done = [own for own in Delete["Objects"] if own["Key"] not in answer]
        if done:
            self._client.delete_objects(Bucket=Bucket, Delete={"Objects": done})
        return {"Errors": [{"Key": key, "Code": code} for key, code in answer.items()]}


def test_what_a_store_refused_to_delete_is_tried_again_or_told(moto_server: str, bucket: str) -> None:
    def deleted(*answers: dict[str, str] | str) -> tuple[list[int], list[str]]:
        client = Refusing(client_for(moto_server, None, 60.0), *answers)
        store = S3Storage(bucket, "", client=client, retry=Retry(sleep=lambda _: None))
        for name in "abc":
            store.write(name, b"")
        try:
            store.delete_many("abc")
        finally:
            left = [entry.path for entry in store.list()]
        return client.asked, left

    assert deleted({"b": "SlowDown"}) == ([3, 1], [])
    assert deleted("MissingContentMD5") == ([3], [])  # a store that knows only single deletes
    with pytest.raises(StorageError, match="no permission"):
        deleted({"a": "AccessDenied"})


def test_a_file_replaced_during_a_read_is_an_error(moto_server: str, bucket: str) -> None:
    store = open_storage(f"s3://{bucket}", endpoint_url=moto_server)
    store.write("x", b"a" * 12 * 2**20)
    with store.open_input("x") as file:
        assert file.read(10) == b"a" * 10
        store.write("x", b"b" * 12 * 2**20)
        with pytest.raises(StorageError, match="replaced while read"):
            file.seek(10 * 2**20)
            file.read(10)


def test_a_missing_bucket_is_a_clear_error(moto_server: str) -> None:
    store = open_storage("s3://no-such-bucket-here/x", endpoint_url=moto_server)
    for act in (lambda: store.read("a"), lambda: store.write("a", b""), lambda: list(store.list())):
        with pytest.raises(StorageError, match="no such bucket"):
            act()


def test_a_seed_file_is_opened_by_its_path_or_url(moto_server: str, bucket: str) -> None:
    open_storage(f"s3://{bucket}/seeds", endpoint_url=moto_server).write("a.jsonl", b"one\ntwo\n")
    with open_file(f"s3://{bucket}/seeds/a.jsonl", endpoint_url=moto_server) as file:
        assert file.seekable()
        assert file.read().splitlines() == [b"one", b"two"]
    with pytest.raises(ObjectNotFound):
        open_file(f"s3://{bucket}/seeds/b.jsonl", endpoint_url=moto_server)


ENDPOINT_FROM_THE_CHAIN = """
import sys
from synth_ray.storage import open_storage
store = open_storage(sys.argv[1])
store.write("x", b"1")
assert store.read("x") == b"1" and store.probe_conditional()
"""


def test_the_endpoint_may_come_from_the_aws_chain(moto_server: str, bucket: str) -> None:
    env = os.environ | {"AWS_ENDPOINT_URL_S3": moto_server}
    subprocess.run([sys.executable, "-c", ENDPOINT_FROM_THE_CHAIN, f"s3://{bucket}/x"], env=env, check=True)


WITHOUT_CREDENTIALS = """
import sys
from synth_ray.errors import StorageError
from synth_ray.storage import open_storage
try:
    open_storage(sys.argv[1], endpoint_url=sys.argv[2]).read("x")
except StorageError as error:
    assert "no credentials; set them by the standard AWS chain" in str(error), error
else:
    raise SystemExit("no error was raised")
"""


def test_no_credentials_is_a_clean_error(moto_server: str, bucket: str, tmp_path: object) -> None:
    env = {k: v for k, v in os.environ.items() if k not in CREDENTIALS} | {"AWS_EC2_METADATA_DISABLED": "true"}
    env |= {"HOME": str(tmp_path), "AWS_DEFAULT_REGION": "us-east-1"}
    subprocess.run([sys.executable, "-c", WITHOUT_CREDENTIALS, f"s3://{bucket}/x", moto_server], env=env, check=True)


def test_an_unreachable_server_fails_within_the_retry_budget() -> None:
    waits: list[float] = []
    retry = Retry(budget_s=3.0, first_s=1.0, clock=lambda: sum(waits), sleep=waits.append, uniform=lambda low, high: high)
    store = open_storage("s3://some-bucket/x", endpoint_url="http://127.0.0.1:9", retry=retry)
    with pytest.raises(StorageError, match=r"within 3 s, got 3 failed tries, the last: EndpointConnectionError"):
        store.read("a")
    assert waits == [1.0, 2.0]
