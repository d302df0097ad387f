"""Reads files of datasets on the Hugging Face Hub: `hf://datasets/owner/name[@revision]/path`. `hub_upload` writes them.

huggingface_hub finds and downloads them, into its own cache, with its own token (`HF_TOKEN` or `hf auth login`). It is imported
only where a job names such an address. Offline (`HF_HUB_OFFLINE=1`) files that are in the cache are read from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import BinaryIO
from urllib.parse import unquote

from synth_ray.errors import JobError

_ADDRESS = re.compile(
    r"hf://datasets/(?P<dataset>[^/@]+/[^/@]+)(?:@(?P<revision>refs/(?:convert|pr)/[^/]+|[^/]+))?(?:/(?P<path>.*))?", re.DOTALL
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_TIMEOUT_S = 10.0
_OFFLINE = "go online (HF_ENDPOINT names a mirror), or download the dataset elsewhere and name the copy"


def hub_files(folder: str) -> list[str]:
    """Every file below a folder of a dataset, as addresses that begin with the folder's. Raises JobError."""
    from huggingface_hub import HfApi

    dataset, revision, path = hub_address(folder)
    with _explained(folder):
        if not _is_reachable():
            raise ConnectionError
        files = HfApi().list_repo_files(dataset, revision=_commit_of(dataset, revision), repo_type="dataset")
    start = f"{path}/" if path else ""
    return [f"{folder.rstrip('/')}/{name[len(start) :]}" for name in files if name.startswith(start)]


def open_hub_file(url: str) -> BinaryIO:
    """One file, from the cache where it is there and still current. Raises JobError."""
    from huggingface_hub import hf_hub_download

    dataset, revision, path = hub_address(url)
    with _explained(url):
        commit, is_cached_only = _commit_of(dataset, revision), not _is_reachable()
        local = hf_hub_download(dataset, path, revision=revision, repo_type="dataset", local_files_only=is_cached_only)
        if commit != revision and f"/snapshots/{commit}/" not in local:  # the branch has moved since it was resolved
            local = hf_hub_download(dataset, path, revision=commit, repo_type="dataset")
        return open(local, "rb")


def hub_commit(url: str) -> str:
    """The commit that files at this address were, or will be, read from; empty where the Hub cannot be asked. Raises JobError."""
    dataset, revision, _ = hub_address(url)
    with _explained(url):
        return _commit_of(dataset, revision) or ""


@cache
def _commit_of(dataset: str, revision: str | None) -> str | None:
    """The commit that a branch or tag names, asked once, so that all files of a run are of one version. Offline, `revision`."""
    from huggingface_hub import HfApi, constants

    if (revision and _COMMIT.fullmatch(revision)) or constants.HF_HUB_OFFLINE or not _is_reachable():
        return revision
    return HfApi().dataset_info(dataset, revision=revision).sha


@cache
def _is_reachable() -> bool:
    """Whether the Hub answers, asked once: huggingface_hub would try for half a minute before it looks into its cache."""
    import httpx
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return True  # it asks nothing, and says why
    try:
        httpx.head(constants.ENDPOINT, timeout=_TIMEOUT_S)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError):  # ValueError, OSError: what names a proxy or certificates
        return False
    return True


def hub_address(url: str) -> tuple[str, str | None, str]:
    """(owner/name, revision or None, path in the repository). Raises JobError."""
    match = _ADDRESS.fullmatch(url)
    if match is None:
        raise JobError(f"wanted hf://datasets/owner/name/path, got '{url}'; correct the address")
    revision = unquote(match["revision"] or "").replace("~", "refs/convert/", 1)
    return match["dataset"], revision or None, match["path"] or ""


@contextmanager
def _explained(url: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the library below huggingface_hub, and so the errors of a network, differ by its version
        raise JobError(f"{url}: wanted to read it from the Hugging Face Hub, got {hub_explanation(error)}") from None


def hub_explanation(error: Exception) -> str:
    """What the Hub, or the way to it, said, and the next move. The text has no token and no address but the Hub's."""
    from huggingface_hub import errors

    status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else None
    for kind, text in (
        (errors.GatedRepoError, "a gated dataset; accept its terms on its page, then set HF_TOKEN"),
        (errors.RepositoryNotFoundError, "no such dataset, or a private one; correct the address, or set HF_TOKEN"),
        (errors.RevisionNotFoundError, "no such revision; correct what is behind the '@'"),
        (errors.RemoteEntryNotFoundError, "no such file; correct the path"),
        (errors.HFValidationError, "a name that cannot be one; correct the address"),
        (errors.HfHubHTTPError, f"HTTP {status}; try again later, or set HF_TOKEN"),
        (errors.OfflineModeIsEnabled, f"HF_HUB_OFFLINE is set; {_OFFLINE}"),
        (errors.LocalEntryNotFoundError, f"no connection and no copy in the cache; {_OFFLINE}"),
    ):
        if isinstance(error, kind):
            return text
    return f"no connection ({type(error).__name__}); {_OFFLINE}"
