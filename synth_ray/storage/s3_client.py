"""Makes S3 clients. What the environment or a profile says wrongly is a JobError that names the variable, never its value."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore import exceptions as boto
from botocore.config import Config

from synth_ray.errors import JobError

_AWS_DOMAINS = (".amazonaws.com", ".amazonaws.com.cn")
_FOR_ANY_STORE = {
    # Other stores may refuse the newer checksum headers, and the bucket as part of the host name.
    "s3": {"addressing_style": "path"},
    "request_checksum_calculation": "when_required",
    "response_checksum_validation": "when_required",
}
_SECRET = ("KEY", "TOKEN", "SECRET")


def client_for(endpoint_url: str | None, region: str | None, timeout_s: float) -> Any:
    """A client with the standard AWS credential chain. It makes no retries of its own: `Retry` does. Raises JobError."""
    _require_ca_bundle()
    client = _client(endpoint_url, region, timeout_s)
    # The AWS chain may name another store too, so look at the host the client uses, not at `endpoint_url`.
    address = urlsplit(client.meta.endpoint_url)
    if address.scheme not in ("http", "https"):
        raise _error_for_endpoint(region)
    if (address.hostname or "").endswith(_AWS_DOMAINS):
        return client
    return _client(endpoint_url, region, timeout_s, **_FOR_ANY_STORE)


def _client(endpoint_url: str | None, region: str | None, timeout_s: float, **options: Any) -> Any:
    config = Config(
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=32,
        connect_timeout=min(10.0, timeout_s),
        read_timeout=timeout_s,
        **options,
    )
    try:
        return boto3.session.Session().client("s3", endpoint_url=endpoint_url, region_name=region, config=config)
    except (boto.BotoCoreError, ValueError) as error:
        raise _translated(error, region) from None


def _translated(error: Exception, region: str | None) -> JobError:
    """What to say instead. boto3's own text quotes the value, which may be a secret in the wrong place."""
    if isinstance(error, boto.ProfileNotFound):
        return _error(
            "a profile that is in ~/.aws/config", "another name", f"correct {_first_set('AWS_PROFILE', 'AWS_DEFAULT_PROFILE')}"
        )
    if isinstance(error, (boto.ConfigParseError, boto.ConfigNotFound)):
        return _error_for_file(error)
    if isinstance(error, boto.InvalidRegionError):
        place = (
            "output.region"
            if region is not None
            else _first_set("AWS_DEFAULT_REGION", "AWS_REGION", other="`region` of the profile")
        )
        return _error("a region such as eu-central-1", "another form", f"correct {place}")
    if isinstance(error, boto.PartialCredentialsError):
        return _error("whole credentials", "a part of them", f"set {error.kwargs.get('cred_var', 'AWS_SECRET_ACCESS_KEY')} too")
    if isinstance(error, ValueError) and str(error).startswith("Invalid endpoint"):
        return _error_for_endpoint(region)
    return _error("settings that boto3 takes", type(error).__name__, f"correct one of these: {', '.join(_suspects())}")


def _error(wanted: str, got: str, move: str) -> JobError:
    return JobError(f"S3: wanted {wanted}, got {got}; {move}")


def _error_for_file(error: Exception) -> JobError:
    path = str(getattr(error, "kwargs", {}).get("path", "~/.aws/config"))
    names = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")
    variable = next((name for name in names if os.environ.get(name) == path), "")
    return _error(
        "a file of profiles", f"one that cannot be read: {path}", f"repair it{f', or correct {variable}' if variable else ''}"
    )


def _error_for_endpoint(region: str | None) -> JobError:
    if not region and os.environ.get("AWS_DEFAULT_REGION") == "":
        return _error("a region such as eu-central-1", "an empty AWS_DEFAULT_REGION", "set it, or unset it")
    place = _first_set("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", other="`endpoint_url` of the profile in ~/.aws/config")
    return _error("an endpoint http(s)://host[:port]", "another form", f"correct {place}")


def _first_set(*names: str, other: str = "") -> str:
    return next((name for name in names if os.environ.get(name)), other or names[0])


def _suspects() -> list[str]:
    """The AWS variables that are set, without those that hold a secret, and the file of profiles."""
    names = sorted(name for name in os.environ if name.startswith("AWS_") and not name.endswith(_SECRET))
    return [*names, "~/.aws/config"]


def _require_ca_bundle() -> None:
    """boto3 would take a missing file for a fault of the network, and be tried again for minutes."""
    name = _first_set("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
    path = os.environ.get(name)
    if path and not os.path.exists(path):
        raise _error("a file of certificates", "none", f"correct {name}")
