"""Makes clients of GCS and Azure. What the environment says wrongly is a JobError that names the variable, never its value."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from synth_ray.errors import JobError, StorageError
from synth_ray.storage.object_errors import credentials_problem
from synth_ray.storage.retry import Retry

_ENDPOINTS = {"gs": ("GOOGLE_BASE_URL",), "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")}
_NAMES = {"gs": "GCS", "az": "Azure"}
_PREFIXES = {"gs": "GOOGLE_", "az": "AZURE_"}
_LONGEST_BODY = 10  # a whole answer may take so many times as long as one of its reads

_process_of_threads = 0


@dataclass(frozen=True, slots=True)
class Client:
    """obstore, and a bucket twice: for requests that `Retry` repeats, and for streamed uploads, which only obstore can repeat.

    A store with `generations` conditions a write on the object's generation; the others condition it on the etag.
    """

    obstore: Any
    bucket: Any
    uploads: Any
    scheme: str

    @property
    def generations(self) -> bool:
        return self.scheme == "gs"


def open_client(scheme: str, bucket: str, *, endpoint_url: str | None, timeout_s: float, retry: Retry) -> Client:
    """A client with the cloud's standard credential chain. It sends no request. Raises JobError."""
    obstore = _obstore(scheme)
    endpoint = endpoint_url or next((os.environ[name] for name in _ENDPOINTS[scheme] if os.environ.get(name)), "")
    http = {
        "allow_http": endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=min(10.0, timeout_s)),
        "read_timeout": timedelta(seconds=timeout_s),
        "timeout": timedelta(seconds=timeout_s * _LONGEST_BODY),
    }
    few = {"max_retries": 1, "retry_timeout": timedelta(seconds=min(10.0, retry.budget_s))}
    many = {"max_retries": 100, "retry_timeout": timedelta(seconds=retry.budget_s)}
    make = _makers(obstore, scheme, bucket, endpoint_url)
    try:
        stores = [make(client_options=http, retry_config=retries) for retries in (few, many)]
    except (obstore.exceptions.BaseError, ValueError) as error:
        raise _translated(error, scheme) from None
    return Client(obstore, stores[0], stores[1], scheme)


def _obstore(scheme: str) -> Any:
    try:
        importlib.import_module("obstore.store")
        return importlib.import_module("obstore")
    except ImportError:
        raise JobError(
            f"{scheme}://: wanted the package obstore, got none; install it, as `pip install 'synth-ray[clouds]'` does"
        ) from None


def _makers(obstore: Any, scheme: str, bucket: str, endpoint_url: str | None) -> Any:
    if scheme == "gs":
        config = {"base_url": endpoint_url} if endpoint_url else {}
        return lambda **options: obstore.store.GCSStore(bucket, config=config, **options)
    container, _, account = bucket.partition("@")
    given = {"account_name": account, "endpoint": endpoint_url}
    config = {name: value for name, value in given.items() if value}
    return lambda **options: obstore.store.AzureStore(container, config=config, **options)


def _translated(error: Exception, scheme: str) -> JobError:
    """What to say instead. obstore's own text may quote the value, which may be a secret in the wrong place."""
    text = str(error)
    if "Account must be specified" in text:
        move = "set AZURE_STORAGE_ACCOUNT_NAME, or write abfss://container@account.dfs.core.windows.net/prefix"
        return JobError(f"Azure: wanted the storage account, got none; {move}")
    what = credentials_problem(text)
    if what:
        return JobError(f"{_NAMES[scheme]}: wanted {what}")
    names = ", ".join(variables(scheme, os.environ)) or "endpoint_url"
    return JobError(f"{_NAMES[scheme]}: wanted settings that obstore takes, got others; correct one of these: {names}")


def variables(scheme: str, environment: Mapping[str, str]) -> list[str]:
    """The cloud's variables that are set, without those that hold a secret by themselves."""
    secret = ("KEY", "TOKEN", "SECRET")
    return sorted(name for name in environment if name.startswith(_PREFIXES[scheme]) and not name.endswith(secret))


def refuse_fork(name: str) -> None:
    """The threads of obstore do not exist in a forked process, where every request would wait for ever. Raises StorageError."""
    global _process_of_threads
    if not _process_of_threads:
        _process_of_threads = os.getpid()
    if _process_of_threads != os.getpid():
        raise StorageError(
            f"{name}: wanted a process that was started by itself, got one forked from another that had used GCS or Azure; "
            "start it with spawn"
        )
