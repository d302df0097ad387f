"""The bucket policy, enforced by a server: a whole job runs under it, and nothing else is allowed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any

import boto3
import pytest

import synth_ray
from synth_ray.errors import StorageError, SynthRayError
from synth_ray.storage import open_storage
from tests.policy_server import Access, Enforced, enforcing, is_allowed

ROOT = Path(__file__).parents[3]
TEMPLATE = (ROOT / "infra" / "s3" / "policy.json").read_text()
OUTPUT, SEEDS = "datasets/answers", "seeds/questions"


def policy_for(bucket: str, *, without: str = "") -> dict[str, Any]:
    filled = Template(TEMPLATE).substitute(BUCKET=bucket, PREFIX=OUTPUT, SEED_BUCKET=bucket, SEED_PREFIX=SEEDS)
    policy: dict[str, Any] = json.loads(filled)
    for statement in policy["Statement"]:
        actions = statement["Action"]
        statement["Action"] = [a for a in ([actions] if isinstance(actions, str) else actions) if a != without]
    return policy


@pytest.fixture
def filled(bucket: str, moto_server: str) -> str:
    """A bucket with seeds, and with others' objects."""
    client = boto3.client("s3", endpoint_url=moto_server)
    seeds = "".join(json.dumps({"prompt": f"question {n}"}) + "\n" for n in range(12))
    for key, text in {
        f"{SEEDS}/a.jsonl": seeds,
        "datasets/other/manifest.json": "{}",
        "datasets/answers-2/x": "x",
        "top": "x",
    }.items():
        client.put_object(Bucket=bucket, Key=key, Body=text.encode())
    return bucket


@pytest.fixture
def server(filled: str, moto_server: str) -> Iterator[Enforced]:
    with enforcing(policy_for(filled), moto_server) as enforced:
        yield enforced


def run(bucket: str, url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
    document = {
        "name": "answers",
        "seeds": f"s3://{bucket}/{SEEDS}/*.jsonl",
        "recipe": {"name": "distill"},
        "models": {"teacher": {"engine": "scripted"}},
        "plan": {"chunk_requests": 4},
        "split": {"fractions": {"train": 1.0}},
        "output": {"path": f"s3://{bucket}/{OUTPUT}", "endpoint_url": url},
        "cluster": {"engine": "local"},
    }
    return synth_ray.run(document)


def test_a_whole_job_and_its_repetition_run_under_the_policy(
    filled: str, server: Enforced, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(filled, server.url, monkeypatch)
    again = run(filled, server.url, monkeypatch)
    assert first.exit_code == again.exit_code == 0 and first.manifest["rows"]["accepted"] > 0
    assert first.manifest["dataset_digest"] == again.manifest["dataset_digest"]
    assert server.denied == []


def test_every_action_that_the_policy_allows_is_one_that_a_job_needs(
    filled: str, server: Enforced, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(filled, server.url, monkeypatch)
    storage = open_storage(f"s3://{filled}/{OUTPUT}", endpoint_url=server.url)
    storage.delete("manifest.json")
    with pytest.raises(RuntimeError), storage.upload("large") as upload:  # an upload in parts that fails is given up
        upload.write(b"x" * 17 * 2**20)
        raise RuntimeError
    client = boto3.client("s3", endpoint_url=server.url)
    client.create_multipart_upload(Bucket=filled, Key=f"{OUTPUT}/left")
    assert storage.sweep_uploads(older_than_s=-60) == 1
    written = {a for s in policy_for(filled)["Statement"] for a in s["Action"]}
    assert server.used == written


@pytest.mark.parametrize("action", ["s3:GetObject", "s3:PutObject", "s3:ListBucket"])
def test_a_job_ends_with_a_clear_error_where_a_right_is_missing(
    filled: str, moto_server: str, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with enforcing(policy_for(filled, without=action), moto_server) as server, pytest.raises(SynthRayError) as caught:
        run(filled, server.url, monkeypatch)
    assert "no permission; the policy must allow" in str(caught.value)


def test_a_job_that_may_not_list_unfinished_uploads_warns_and_goes_on(
    filled: str, moto_server: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with enforcing(policy_for(filled, without="s3:ListBucketMultipartUploads"), moto_server) as server:
        assert run(filled, server.url, monkeypatch).exit_code == 0
        assert {access.action for access in server.denied} == {"s3:ListBucketMultipartUploads"}
    assert caplog.text.count("the policy does not allow s3:ListBucketMultipartUploads") == 1
    with pytest.raises(StorageError, match="no such bucket"):  # every other error is one
        open_storage(f"s3://{filled}-none/x", endpoint_url=moto_server).sweep_uploads(older_than_s=0)


DENIED = {
    "read elsewhere": lambda c, b: c.get_object(Bucket=b, Key="datasets/other/manifest.json"),
    "read beside, with the same beginning": lambda c, b: c.get_object(Bucket=b, Key="datasets/answers-2/x"),
    "read what is not there, elsewhere": lambda c, b: c.get_object(Bucket=b, Key="datasets/other/none"),
    "write elsewhere": lambda c, b: c.put_object(Bucket=b, Key="datasets/other/manifest.json", Body=b"x"),
    "write the seeds": lambda c, b: c.put_object(Bucket=b, Key=f"{SEEDS}/a.jsonl", Body=b"x"),
    "delete the seeds": lambda c, b: c.delete_object(Bucket=b, Key=f"{SEEDS}/a.jsonl"),
    "delete elsewhere": lambda c, b: c.delete_object(Bucket=b, Key="top"),
    "delete many, one of them elsewhere": lambda c, b: c.delete_objects(
        Bucket=b, Delete={"Objects": [{"Key": f"{OUTPUT}/x"}, {"Key": "top"}]}
    ),
    "list everything": lambda c, b: c.list_objects_v2(Bucket=b),
    "list elsewhere": lambda c, b: c.list_objects_v2(Bucket=b, Prefix="datasets/other/"),
    "list beside, with the same beginning": lambda c, b: c.list_objects_v2(Bucket=b, Prefix="datasets/answers-2/"),
    "list all uploads": lambda c, b: c.list_multipart_uploads(Bucket=b),
    "begin an upload elsewhere": lambda c, b: c.create_multipart_upload(Bucket=b, Key="top"),
    "list buckets": lambda c, b: c.list_buckets(),
    "remove the bucket": lambda c, b: c.delete_bucket(Bucket=b),
    "make a bucket": lambda c, b: c.create_bucket(Bucket=f"{b}-2"),
    "open the bucket to others": lambda c, b: c.put_bucket_acl(Bucket=b, ACL="public-read"),
}


@pytest.mark.parametrize("act", DENIED.values(), ids=DENIED.keys())
def test_everything_else_is_denied(filled: str, server: Enforced, act: Any) -> None:
    client = boto3.client("s3", endpoint_url=server.url)
    with pytest.raises(client.exceptions.ClientError) as caught:
        act(client, filled)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert len(server.denied) == 1 or "not there" in str(act)


def test_what_is_not_there_yet_is_told_from_what_is_forbidden(filled: str, server: Enforced) -> None:
    """A first run reads a ledger that does not exist: without the right to list its place S3 says 403 instead of 404."""
    client = boto3.client("s3", endpoint_url=server.url)
    with pytest.raises(client.exceptions.NoSuchKey):
        client.get_object(Bucket=filled, Key=f"{OUTPUT}/manifest.json")


def test_storage_of_another_prefix_is_refused_with_advice(filled: str, server: Enforced) -> None:
    storage = open_storage(f"s3://{filled}/datasets/other", endpoint_url=server.url)
    with pytest.raises(StorageError, match="no permission; the policy must allow"):
        storage.read("manifest.json")


def test_a_denial_wins_over_what_is_allowed() -> None:
    policy = policy_for("b")
    access = Access("s3:PutObject", f"arn:aws:s3:::b/{OUTPUT}/x")
    assert is_allowed(policy, access)
    policy["Statement"].append({"Effect": "Deny", "Action": "s3:Put*", "Resource": "*"})
    assert not is_allowed(policy, access)


def test_the_page_on_storage_names_the_rights_of_the_policy() -> None:
    text = (ROOT / "docs" / "storage.md").read_text()
    allowed = {a for s in policy_for("b")["Statement"] for a in s["Action"]}
    assert set(re.findall(r"`(s3:[A-Za-z]+)`", text)) - {"s3:prefix"} == allowed
    assert "infra/s3/policy.json" in text
