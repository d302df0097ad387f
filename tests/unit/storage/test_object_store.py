"""GCS and Azure: what is not in the contract of every store."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from synth_ray.errors import JobError, ObjectNotFound, StorageError
from synth_ray.storage import Retry, open_file, open_storage
from synth_ray.storage.object_client import variables
from tests.cloud_servers import CLOUDS, ENVIRONMENT, KEY, Place, new_place
from tests.gcs_server import PAGE_KEYS

SECRETS = (KEY, ENVIRONMENT["GOOGLE_BEARER_TOKEN"])


@pytest.fixture(params=CLOUDS)
def place(request: pytest.FixtureRequest) -> Place:
    return new_place(request.param, request)


def in_a_process(code: str, *arguments: object, **environment: str) -> str:
    """What the code prints, in a process with these variables of the clouds and no others."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("AZURE_", "GOOGLE_"))}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=ours | environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode in (0, -9), done.stderr
    return done.stdout


READ = """
import sys
from synth_ray.errors import JobError, StorageError
from synth_ray.storage import Retry, open_storage
try:
    print(open_storage(sys.argv[1], endpoint_url=sys.argv[2] or None, retry=Retry(budget_s=0.5), timeout_s=2).read("x"))
except (JobError, StorageError) as error:
    print(type(error).__name__, error)
"""


def test_a_prefix_is_a_folder_and_not_the_start_of_a_name(place: Place) -> None:
    open_storage(f"{place.url}/out2", endpoint_url=place.endpoint_url).write("x", b"1")
    assert list(open_storage(f"{place.url}/out", endpoint_url=place.endpoint_url).list()) == []
    assert [e.path for e in open_storage(place.url, endpoint_url=place.endpoint_url).list()] == ["out2/x"]


def test_a_listing_follows_its_pages(place: Place) -> None:
    store = open_storage(f"{place.url}/many", endpoint_url=place.endpoint_url)
    names = [f"commits/{n:08d}.json" for n in range(4 * PAGE_KEYS + 1)]
    for name in reversed(names):
        store.write(name, b"")
    assert [entry.path for entry in store.list("commits/")] == names
    assert [entry.path for entry in store.list("commits/0000001")] == names[10:20]


def test_a_file_replaced_during_a_read_is_an_error(place: Place) -> None:
    store = open_storage(place.url, endpoint_url=place.endpoint_url)
    store.write("x", b"a" * 12 * 2**20)
    with store.open_input("x") as file:
        assert file.read(10) == b"a" * 10
        store.write("x", b"a" * 12 * 2**20)  # the same bytes, and yet another version
        with pytest.raises(StorageError, match="replaced while read"):
            file.seek(10 * 2**20)
            file.read(10)


def test_a_missing_bucket_is_a_clear_error(place: Place) -> None:
    store = open_storage(f"{place.url}-missing/x", endpoint_url=place.endpoint_url)
    for act in (
        lambda: store.read("a"),
        lambda: store.write("a", b""),
        lambda: store.create("a", b""),
        lambda: list(store.list()),
    ):
        with pytest.raises(StorageError, match="no such bucket"):
            act()


def test_a_seed_file_is_opened_by_its_url(place: Place) -> None:
    open_storage(f"{place.url}/seeds", endpoint_url=place.endpoint_url).write("a.jsonl", b"one\ntwo\n")
    with open_file(f"{place.url}/seeds/a.jsonl", endpoint_url=place.endpoint_url) as file:
        assert file.seekable()
        assert file.read().splitlines() == [b"one", b"two"]
    with pytest.raises(ObjectNotFound):
        open_file(f"{place.url}/seeds/b.jsonl", endpoint_url=place.endpoint_url)


KILLED = """
import os, signal, sys
from synth_ray.storage import open_storage
with open_storage(sys.argv[1], endpoint_url=sys.argv[2]).upload("big/x") as out:
    out.write(b"x" * 40 * 2**20)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_upload_is_invisible(place: Place) -> None:
    in_a_process(KILLED, f"{place.url}/out", place.endpoint_url, **ENVIRONMENT)
    store = open_storage(f"{place.url}/out", endpoint_url=place.endpoint_url)
    assert list(store.list()) == []
    with store.upload("big/x") as out:
        out.write(b"whole")
    assert store.read("big/x") == b"whole"


@pytest.mark.parametrize("scheme", ["gs", "az"])
def test_an_unreachable_server_fails_within_the_retry_budget(cloud_credentials: None, scheme: str) -> None:
    waits: list[float] = []
    retry = Retry(budget_s=3.0, first_s=1.0, clock=lambda: sum(waits), sleep=waits.append, uniform=lambda low, high: high)
    store = open_storage(f"{scheme}://some-bucket/x", endpoint_url="http://127.0.0.1:9", retry=retry)
    with pytest.raises(StorageError, match=r"within 3 s, got 3 failed tries, the last: Connect"):
        store.read("a")
    assert waits == [1.0, 2.0]


FORKED = """
import os, sys
from synth_ray.storage import open_storage
store = open_storage(sys.argv[1], endpoint_url=sys.argv[2])
store.write("x", b"1")
if os.fork() == 0:
    try:
        store.read("x")
    except Exception as error:
        print(error, flush=True)
    os._exit(0)
os.wait()
"""


def test_a_forked_process_is_told_instead_of_waiting_for_ever(place: Place) -> None:
    assert "start it with spawn" in in_a_process(FORKED, place.url, place.endpoint_url, **ENVIRONMENT)


def test_a_store_is_not_pickled_with_its_credentials(place: Place) -> None:
    with pytest.raises(TypeError, match="send its address"):
        pickle.dumps(open_storage(place.url, endpoint_url=place.endpoint_url))


def test_a_missing_package_is_named_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(
        JobError, match=r"gs://: wanted the package obstore, got none; install it, as `pip install 'synth-ray\[clouds\]'`"
    ):
        open_storage("gs://bucket/x")


def test_plain_http_is_only_for_an_endpoint_that_says_so(place: Place) -> None:
    name = {"gs": "GOOGLE_BASE_URL", "az": "AZURE_STORAGE_ENDPOINT"}[place.url[:2]]
    open_storage(place.url, endpoint_url=place.endpoint_url).write("x", b"1")
    assert in_a_process(READ, place.url, "", **ENVIRONMENT, **{name: str(place.endpoint_url)}) == "b'1'\n"


def test_credentials_that_are_wrong_are_told_without_being_quoted(place: Place, tmp_path: Path) -> None:
    (tmp_path / "no.json").write_text(json.dumps({"type": "service_account", "private_key": "secret-never-printed"}))
    cases = {
        "gs": [
            ({}, "no credentials; set them by the cloud's standard chain"),
            ({"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere.json"}, "correct GOOGLE_APPLICATION_CREDENTIALS"),
            ({"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "no.json")}, "correct GOOGLE_APPLICATION_CREDENTIALS"),
        ],
        "az": [
            ({}, "wanted the storage account, got none; set AZURE_STORAGE_ACCOUNT_NAME"),
            (
                {"AZURE_STORAGE_ACCOUNT_NAME": "devstoreaccount1", "AZURE_STORAGE_ACCOUNT_KEY": "secret-never-printed"},
                "in base64",
            ),
            ({"AZURE_STORAGE_ACCOUNT_NAME": "devstoreaccount1", "AZURE_STORAGE_ACCOUNT_KEY": "A" * 86 + "=="}, "no permission"),
        ],
    }
    for environment, message in cases[place.url[:2]]:
        said = in_a_process(READ, place.url, place.endpoint_url, **environment)
        assert message in said, said
        assert "never-printed" not in said
        assert not any(secret in said for secret in SECRETS)


def test_an_account_may_be_in_the_address(place: Place) -> None:
    if place.url.startswith("az"):
        url = f"abfss://{place.url.removeprefix('az://')}@devstoreaccount1.dfs.core.windows.net/a"
        store = open_storage(url, endpoint_url=place.endpoint_url)
        store.write("x", b"1")
        assert (store.url, [e.path for e in store.list()]) == (url, ["x"])
        assert open_storage(f"{place.url}/a", endpoint_url=place.endpoint_url).read("x") == b"1"


def test_a_message_names_no_variable_that_holds_a_secret() -> None:
    names = {"AZURE_CLIENT_ID": "", "AZURE_CLIENT_SECRET": "", "AZURE_STORAGE_ACCOUNT_KEY": "", "GOOGLE_BASE_URL": ""}
    assert variables("az", names) == ["AZURE_CLIENT_ID"]
