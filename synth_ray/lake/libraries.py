"""The libraries of the table formats: imported where they are used, and their errors in our words."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from synth_ray.errors import JobError, StorageError, SynthRayError
from synth_ray.lake.contract import CommitLost

_STATUS = re.compile(r"\b(?:status|status code|HTTP status|HTTP)[:\s]{1,3}([1-5]\d\d)\b", re.IGNORECASE)
_CODE = re.compile(r"<Code>([A-Za-z]{3,60})</Code>|\bAWS Error ([A-Z_]{3,60})\b|\b(os error \d{1,4})\b")
_REFUSALS = ("ForbiddenError", "UnauthorizedError", "ValueError")  # a subclass of ValueError may be a torn answer
_FORBIDDEN = ("401", "403", "AccessDenied", "ACCESS_DENIED", "os error 13", "os error 1")

_OBJECT_STORE_OPTIONS = {"max_retries": "3", "retry_timeout": "20s", "timeout": "60s", "connect_timeout": "10s"}


@dataclass(frozen=True, slots=True)
class Server:
    """Another server than the cloud's own, and a region, as the output names them; else the environment's.

    `scheme` is that of the output: "s3", "gs" or "az". A server of one cloud says nothing about a table in another.
    """

    endpoint_url: str | None = None
    region: str | None = None
    scheme: str = ""

    @property
    def url(self) -> str | None:
        """The S3 server."""
        named = self.endpoint_url if self.scheme in ("", "s3") else None
        return named or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")

    @property
    def region_name(self) -> str | None:
        return (
            (self.region if self.scheme in ("", "s3") else None)
            or os.environ.get("AWS_REGION")
            or os.environ.get("AWS_DEFAULT_REGION")
        )

    def for_pyiceberg(self) -> dict[str, str]:
        named = {"s3.endpoint": self.url, "s3.region": self.region_name}
        return {name: value for name, value in named.items() if value}

    def for_object_store(self, address: str) -> dict[str, str]:
        """Options of deltalake and lance, whose requests go through the same library. Raises JobError."""
        self.refuse_other_server(address)
        if not address.startswith("s3://"):
            return {}
        named = {"aws_endpoint": self.url, "aws_region": self.region_name}
        options = {name: value for name, value in named.items() if value}
        if urlsplit(self.url or "").scheme == "http":
            options["aws_allow_http"] = "true"
        return options | _OBJECT_STORE_OPTIONS

    def refuse_other_server(self, address: str) -> None:
        """Raises JobError for a table of GCS or Azure in another server than the cloud's own: the libraries cannot be told."""
        scheme = scheme_of(address)
        if self.endpoint_url and scheme in ("gs", "az") and self.scheme in ("", scheme):
            raise JobError(
                f"output.endpoint_url: wanted none for a table at {scheme}://, which libraries look for in the cloud itself, got "
                "one; leave `sinks` out"
            )


FROM_ENVIRONMENT = Server()


def scheme_of(address: str) -> str:
    """One of "s3", "gs", "az", or empty for a disk."""
    scheme = address.partition("://")[0] if "://" in address else ""
    return {"abfss": "az", "file": ""}.get(scheme, scheme)


def library(module: str, *, package: str) -> Any:
    """The module. Raises JobError that says what to install."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise JobError(
            f"sinks: wanted the package {package}, got none; install it, as `pip install 'synth-ray[lake]'` does"
        ) from None


@contextmanager
def told(address: str) -> Iterator[None]:
    """Errors of a library as StorageError."""
    try:
        yield
    except (SynthRayError, CommitLost):
        raise
    except Exception as error:
        raise _storage_error(address, safe_text(error)) from None


@contextmanager
def committing(address: str) -> Iterator[None]:
    """Around the commit alone. Its errors are CommitLost, for only the table knows whether it landed; a refusal is final."""
    try:
        yield
    except (SynthRayError, CommitLost):
        raise
    except Exception as error:
        if _is_refusal(error):
            raise _storage_error(address, safe_text(error)) from None
        raise CommitLost(safe_text(error)) from None


def _storage_error(address: str, got: str) -> StorageError:
    return StorageError(
        f"{address}: wanted an answer, got {got}; see that the table can be reached and that you may read and write it, "
        "then run the same command again"
    )


def _is_refusal(error: Exception) -> bool:
    """Whether the same request would get the same answer."""
    if isinstance(error, (PermissionError, TypeError)) or type(error).__name__ in _REFUSALS:
        return True
    return any(fact in _FORBIDDEN for fact in _facts(error))


def safe_text(error: BaseException) -> str:
    """The error's type, its HTTP status and its error code. Never its text: that quotes addresses, with their signatures, and
    what servers say, and a configuration file may hold secrets that nobody can look for.
    """
    return ", ".join([type(error).__name__, *(f"HTTP {fact}" if fact.isdigit() else fact for fact in _facts(error))])


def _facts(error: BaseException) -> list[str]:
    """The HTTP status and the error code, each where there is one."""
    text = str(error)
    status = str(getattr(getattr(error, "response", None), "status_code", "") or "")
    if not status and (found := _STATUS.search(text)):
        status = found[1]
    code = next((group for found in _CODE.finditer(text) for group in found.groups() if group), "")
    return [fact for fact in (status, code) if fact]


def refuse_foreign(address: str) -> JobError:
    """The error for a table with rows that no version of a dataset put there."""
    return JobError(
        f"{address}: wanted a table that synth-ray made, or none, got another one, whose rows a version would replace; name "
        "another table, or drop this one"
    )
