"""Sinks have no secrets, whatever their names are joined by and wherever they are put."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from synth_ray.job.sinks import Catalog, Sink

SECRETS = [
    "adls.connection-string",
    "adls.connection_string",
    "header.Authorization",
    "header.Cookie",
    "header.X-Anything",
    "authorization",
    "COOKIE",
    "sig",
    "s3.secret-access-key",
    "s3.secret_access_key",
    "adls.account.key",
    "client.api_key",
    "token",
    "adls.sas-token.account",
]


@pytest.mark.parametrize("name", SECRETS)
def test_a_property_that_is_a_secret_is_refused_without_its_value(name: str) -> None:
    with pytest.raises(ValidationError) as told:
        Catalog(properties={name: "zzz-hidden"})
    assert "zzz-hidden" not in "".join(error["msg"] for error in told.value.errors())


@pytest.mark.parametrize("query", ["?api_key=z", "?a=b&sig=z", "?sv=1&SIG=z", "?access.token=z", "#access_token=z", "?password="])
def test_an_address_with_a_secret_in_its_query_is_refused(query: str) -> None:
    for catalog in (
        {"uri": f"https://h/{query}"},
        {"warehouse": f"s3://b/{query}"},
        {"properties": {"any": f"https://h/{query}"}},
    ):
        with pytest.raises(ValidationError, match="without credentials"):
            Catalog(**catalog)
    with pytest.raises(ValidationError, match="without user or password"):
        Sink(format="lance", path=f"s3://b/p{query}")


def test_what_is_no_secret_is_taken() -> None:
    properties = {"s3.endpoint": "http://h:9", "s3.region": "eu-1", "adls.account-name": "a", "rest.sigv4-enabled": "true"}
    catalog = Catalog(uri="postgresql://user@h/db?sslmode=require", properties=properties)
    assert catalog.for_pyiceberg()["rest.sigv4-enabled"] == "true"
