"""Where seeds may be: folders and globs here, in a bucket and on the Hub, and files of the web."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from synth_ray.errors import JobError
from synth_ray.storage import Retry, open_storage, web_file
from synth_ray.storage.job_files import files_at, open_input
from tests.cloud_servers import Place
from tests.web_server import Site, serving

NAMES = [
    "a.jsonl",
    "b.jsonl.gz",
    "README.md",
    "_SUCCESS",
    "_staging/x.jsonl",
    ".cache/x.jsonl",
    "lang=de/part-0.jsonl",
    "lang=de/deep/part-1.jsonl",
    "lang=en/part-0.jsonl",
]
DATA = ["a.jsonl", "b.jsonl.gz", "lang=de/deep/part-1.jsonl", "lang=de/part-0.jsonl", "lang=en/part-0.jsonl"]
CHOSEN = {
    "": DATA,
    "/": DATA,
    "/*": ["a.jsonl", "b.jsonl.gz"],
    "/**": DATA,
    "/*.jsonl": ["a.jsonl"],
    "/**/*.jsonl": ["a.jsonl", *DATA[2:]],
    "/lang=*/part-0.jsonl": DATA[3:],
    "/lang=[!e]?/*": ["lang=de/part-0.jsonl"],
    "/lang=*": DATA[2:],
    "/_staging/*.jsonl": ["_staging/x.jsonl"],
    "/a.jsonl": ["a.jsonl"],
}


def is_data(path: str) -> bool:
    return path.endswith((".jsonl", ".jsonl.gz"))


@pytest.mark.parametrize("end", CHOSEN)
def test_a_folder_or_a_glob_is_its_files_of_data_in_order(tmp_path: Path, end: str) -> None:
    for name in NAMES:
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(b"{}")
    for root in (str(tmp_path), f"file://{tmp_path}"):
        assert files_at(f"{root}{end}", is_data=is_data) == [f"{tmp_path}/{name}" for name in CHOSEN[end]]


def test_a_bucket_is_chosen_from_alike(place: Place) -> None:
    store = open_storage(f"{place.url}/data", endpoint_url=place.endpoint_url)
    for name in NAMES:
        store.write(name, b"{}")
    for end, names in CHOSEN.items():
        found = files_at(f"{place.url}/data{end}", is_data=is_data, endpoint_url=place.endpoint_url)
        assert found == [f"{place.url}/data/{name}" for name in names], end
    with open_input(f"{place.url}/data/a.jsonl", endpoint_url=place.endpoint_url) as file:
        assert file.read() == b"{}"
    with pytest.raises(JobError, match="none that match"):
        files_at(f"{place.url}/nothing/", is_data=is_data, endpoint_url=place.endpoint_url)


def test_a_name_that_looks_like_a_glob_is_itself_where_it_is_there(tmp_path: Path) -> None:
    (tmp_path / "a[1].jsonl").write_bytes(b"{}")
    assert files_at(f"{tmp_path}/a[1].jsonl", is_data=is_data) == [f"{tmp_path}/a[1].jsonl"]


@pytest.mark.parametrize("end", ["*.jsonl", "", "none/*"])
def test_nothing_there_is_an_error(tmp_path: Path, end: str) -> None:
    with pytest.raises(JobError, match="none that match"):
        files_at(f"{tmp_path}/{end}", is_data=is_data)


def test_a_place_that_cannot_be_reached_is_an_error_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(JobError, match="hf:// or https://, got scheme 'ftp'"):
        files_at("ftp://bucket/a.jsonl", is_data=is_data)
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    with pytest.raises(JobError, match="AWS_PROFILE"):
        open_input("s3://bucket/a.jsonl")


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="got none; is it there"):
        open_input(str(tmp_path / "no.jsonl"))


def test_a_file_of_the_web_is_read_whole_over_redirects_and_busy_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_file, "_RETRY", Retry(budget_s=5, first_s=0.01))
    site = Site({"/s.jsonl": b"one\ntwo\n" * 10_000}, Counter({"/s.jsonl": 2}), moved={"/old.jsonl": "/s.jsonl"})
    with serving(site):
        [path] = files_at(f"{site.url}/old.jsonl?signature=abc", is_data=is_data)
        with open_input(path) as file:
            assert file.seekable()
            assert file.read() == site.files["/s.jsonl"]


def test_a_file_of_the_web_that_cannot_be_had_is_an_error_without_its_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_file, "_RETRY", Retry(budget_s=0.3, first_s=0.01))
    site = Site({"/half.jsonl": b"x" * 1000}, Counter({"/busy.jsonl": 10**6}), cut_off=frozenset({"/half.jsonl"}))
    with serving(site):
        for name, got in (("none.jsonl", "HTTP 404; correct"), ("busy.jsonl", "HTTP 503"), ("half.jsonl", "RemoteProtocolError")):
            with pytest.raises(JobError, match=got) as raised:
                open_input(f"{site.url}/{name}?signature=abc")
            assert f"{site.url}/{name}: " in str(raised.value)
            assert "abc" not in str(raised.value)
    with pytest.raises(JobError, match="ConnectError; see that this machine is online"):
        open_input(f"{site.url}/s.jsonl")
    with pytest.raises(JobError, match="credentials never go into an address") as raised:
        files_at("https://me:hunter2@example.org/s.jsonl", is_data=is_data)
    assert "hunter2" not in str(raised.value)


READ = """
import json, sys
from synth_ray.errors import JobError
from synth_ray.storage.job_files import files_at, open_input
try:
    paths = files_at(sys.argv[1], is_data=lambda path: path.endswith(".jsonl"))
    print(json.dumps([[path, open_input(path).read().decode()] for path in paths]))
except JobError as error:
    print(json.dumps(str(error)))
"""


def read_from_hub(path: str, cache: Path, **environment: str) -> object:
    """In a process of its own: huggingface_hub reads its environment when it is imported."""
    settings = {**os.environ, "HF_HOME": str(cache), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", **environment}
    done = subprocess.run([sys.executable, "-c", READ, path], env=settings, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.slow
def test_files_of_the_hub_are_listed_read_and_kept_for_work_offline(tmp_path: Path) -> None:
    files = {"README.md": b"card", "data/a.jsonl": b"1", "data/lang=de/b.jsonl": b"2", "other.jsonl": b"3"}
    site = Site(datasets={"owner/name": files})
    root, cache = "hf://datasets/owner/name", tmp_path / "cache"
    with serving(site):
        online = {"HF_ENDPOINT": site.url}
        a, b = [f"{root}/data/a.jsonl", "1"], [f"{root}/data/lang=de/b.jsonl", "2"]
        assert read_from_hub(f"{root}/data", cache, **online) == [a, b]
        assert read_from_hub(f"{root}@main/**/b.jsonl", cache, **online) == [[f"{root}@main/data/lang=de/b.jsonl", "2"]]
        assert "no such dataset" in str(read_from_hub("hf://datasets/owner/none/a.jsonl", cache, **online))
        assert "no such file" in str(read_from_hub(f"{root}/none.jsonl", cache, **online))
        newer = Site(datasets={"owner/name": files}, moved_on={"owner/name": {"data/a.jsonl": b"9"}})
        with serving(newer):  # every file is of the commit that the branch had when the run began
            assert read_from_hub(f"{root}/data/a.jsonl", tmp_path / "other", HF_ENDPOINT=newer.url) == [a]
    for offline in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": site.url}):  # told to be, or because nobody answers
        assert read_from_hub(f"{root}/data/a.jsonl", cache, **offline) == [a]
        for path in (f"{root}/other.jsonl", f"{root}/data"):
            message = str(read_from_hub(path, cache, **offline))
            assert message.startswith(f"{path}: wanted to read it from the Hugging Face Hub, got ")
            assert "go online" in message
    assert "wanted hf://datasets/owner/name/path" in str(read_from_hub("hf://models/owner/name", cache, **offline))
