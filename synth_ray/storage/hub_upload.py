"""Writes files to a dataset on the Hugging Face Hub, all of them in one commit.

huggingface_hub sends them, with its own token (`HF_TOKEN` or `hf auth login`). Large files are sent ahead of the commit, and the
Hub keeps what it has got: after a failure only what is missing is sent again.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synth_ray.errors import JobError, StorageError
from synth_ray.storage.hub_files import hub_address, hub_explanation

_AGAIN = "push again: what was sent is not sent again"
_EXPLAINED = {
    400: "a request that the Hub refuses (HTTP 400); correct what it names",
    401: "no dataset that this token may see (HTTP 401); set HF_TOKEN to a token that is valid, or correct the address",
    403: "a token that may not write there (HTTP 403); use one with write access to it",
    404: "no such dataset or branch (HTTP 404); create it on the Hub first, or correct the address",
    409: f"another commit at the same time (HTTP 409); {_AGAIN}",
    412: f"another commit since this push began (HTTP 412); {_AGAIN}",
    413: "a file that is too large for the Hub (HTTP 413); make parts smaller, by output.part_bytes",
    429: f"too many requests (HTTP 429); wait some minutes, then {_AGAIN}",
}


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of the Hub by its digests: `sha256` for a large one, otherwise git's `blob_id`."""

    sha256: str
    blob_id: str

    def has(self, data: bytes) -> bool:
        if self.sha256:
            return hashlib.sha256(data).hexdigest() == self.sha256
        return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() == self.blob_id


class HubDataset:
    """One branch of a dataset, as it is when this is opened. Raises JobError for a wrong address, StorageError for the rest."""

    def __init__(self, url: str) -> None:
        from huggingface_hub import HfApi, get_token

        self.url = url.rstrip("/")
        self._name, revision, path = hub_address(self.url)
        if path:
            raise JobError(f"{url}: wanted hf://datasets/OWNER/NAME[@BRANCH], got a path behind it; a push fills a whole branch")
        self._revision = revision or "main"
        if get_token() is None:
            raise StorageError(f"{self.url}: wanted a token of the Hub, got none; set HF_TOKEN, or run `hf auth login`")
        self._api = HfApi()
        self._additions: list[Any] = []
        with self._explained():
            self._head = self._api.repo_info(self._name, revision=self._revision, repo_type="dataset").sha

    def files(self) -> Mapping[str, RemoteFile]:
        """Every file by its path."""
        from huggingface_hub.hf_api import RepoFile

        with self._explained():
            tree = self._api.list_repo_tree(self._name, revision=self._revision, recursive=True, repo_type="dataset")
            return {f.path: RemoteFile(f.lfs.sha256 if f.lfs else "", f.blob_id) for f in tree if isinstance(f, RepoFile)}

    def read(self, path: str) -> bytes:
        """A small file, as it is at the commit that this was opened at."""
        with tempfile.TemporaryDirectory(prefix="synth-ray-") as folder, self._explained():
            api = self._api
            file = api.hf_hub_download(self._name, path, revision=self._head, repo_type="dataset", local_dir=folder)
            return Path(file).read_bytes()

    def send(self, files: Iterable[tuple[str, Path | bytes]]) -> Sequence[bool]:
        """Send files that belong to the commit, by path. False for each that goes only with the commit itself: keep it."""
        from huggingface_hub import CommitOperationAdd

        with self._explained():
            additions = [CommitOperationAdd(path_in_repo=path, path_or_fileobj=source) for path, source in files]
            self._api.preupload_lfs_files(self._name, additions, repo_type="dataset", revision=self._revision)
        self._additions += additions
        return [addition.path_or_fileobj == b"" for addition in additions]

    def commit(self, message: str, *, removed: Iterable[str] = ()) -> str:
        """One commit of all that was sent, without the files `removed`. Returns its address."""
        from huggingface_hub import CommitOperationDelete

        operations = [*self._additions, *(CommitOperationDelete(path_in_repo=path, is_folder=False) for path in removed)]
        with self._explained():
            made = self._api.create_commit(
                self._name,
                operations,
                commit_message=message,
                repo_type="dataset",
                revision=self._revision,
                parent_commit=self._head,
            )
        return str(made.commit_url)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # the library below huggingface_hub, and so the errors of a network, differ by its version
            raise StorageError(f"{self.url}: wanted to write to the Hugging Face Hub, got {_explanation(error)}") from None


def _explanation(error: Exception) -> str:
    from huggingface_hub import errors

    if isinstance(error, (errors.GatedRepoError, errors.RevisionNotFoundError, errors.HFValidationError)):
        return hub_explanation(error)
    status = _status(error)
    if status is not None:
        return _EXPLAINED.get(status, f"a failure of the server (HTTP {status}); wait, then {_AGAIN}")
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set; unset it, then push again"
    if isinstance(error, ValueError) and str(error).startswith("Invalid metadata in README.md"):
        return "a card whose metadata the Hub refuses; see the keys between its '---' lines"
    name = type(error).__name__
    if isinstance(error, OSError) or type(error).__module__.startswith(("httpx", "requests")):
        return f"no connection ({name}); go online (HF_ENDPOINT names a mirror), then {_AGAIN}"
    return f"an answer that huggingface_hub does not understand ({name}); see the dataset's page, then {_AGAIN}"


def _status(error: BaseException | None) -> int | None:
    """The status of the answer that an error is about: huggingface_hub wraps that of an upload."""
    while error is not None:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
        error = error.__cause__
    return None
