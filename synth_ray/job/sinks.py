"""Tables that each complete version of the dataset is registered in. They have no credentials: those come from each library's
own environment or configuration.
"""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import field_validator, model_validator

from synth_ray.job.section import Section, key

TableFormat = Literal["iceberg", "delta", "lance"]

_SECRET = re.compile(
    r"secret|token|passw|pwd|passphrase|credential|(access|account|private|shared|api)-?key|sas|oauth2-|connection-?string"
    r"|authorization|cookie|^header-|^(sig|signature|key|auth)$|-(sig|signature)$"
)
_TABLE = re.compile(r"[^.\s/]+(\.[^.\s/]+)+")


def _is_secret(name: str) -> bool:
    """Whether a property of this name is a secret, however its words are joined."""
    return bool(_SECRET.search(re.sub(r"[-_. ]+", "-", name.lower())))


def _has_credentials(address: str) -> bool:
    """Whether an address has a password, or a secret in its query or fragment."""
    parts = urlsplit(address)
    named = parse_qsl(parts.query, keep_blank_values=True) + parse_qsl(parts.fragment, keep_blank_values=True)
    return parts.password is not None or any(_is_secret(name) for name, _ in named)


class Catalog(Section):
    """An Iceberg catalog. What is left out comes from pyiceberg's own configuration (.pyiceberg.yaml, PYICEBERG_CATALOG__…)."""

    name: str = key("default", "Its name in pyiceberg's configuration.", min_length=1, changes="nothing")
    type: Literal["rest", "sql", "glue", "hive", "dynamodb", "bigquery", ""] = key("", "Its kind.", changes="nothing")
    uri: str = key("", "Its address, as https://host/… or sqlite:////lake/catalog.db; without a password.", changes="nothing")
    warehouse: str = key("", "Where it keeps the metadata of new tables, as s3://bucket/warehouse.", changes="nothing")
    properties: dict[str, str] = key(dict, "Further properties, as pyiceberg names them; no secret.", changes="nothing")

    @field_validator("uri", "warehouse")
    @classmethod
    def _without_credentials(cls, value: str) -> str:
        if _has_credentials(value):
            raise ValueError(
                "wanted an address without credentials, got one with; set them in the environment, as "
                "PYICEBERG_CATALOG__DEFAULT__URI, and leave the key out"
            )
        return value

    @field_validator("properties")
    @classmethod
    def _without_secrets(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if _is_secret(name) or name in ("name", "type", "uri", "warehouse"):
                raise ValueError(
                    f"wanted properties that are no secret and have no key of their own, got '{name[:60]}'; secrets belong in "
                    "the environment, as PYICEBERG_CATALOG__DEFAULT__TOKEN"
                )
            cls._without_credentials(text)
        return value

    def for_pyiceberg(self) -> dict[str, str]:
        """The properties that the job names."""
        named = {"type": self.type, "uri": self.uri, "warehouse": self.warehouse}
        return {name: value for name, value in named.items() if value} | self.properties


class Sink(Section):
    """One table. `sinks: [{format: delta}]` needs nothing more."""

    format: TableFormat = key(..., "The format of the table.", changes="nothing")
    table: str = key("", "Iceberg: the table's name, as namespace.table.", changes="nothing")
    catalog: Catalog = key(Catalog, "Iceberg: the catalog that has the table.", changes="nothing")
    path: str = key("", "Lance: where its copy of the rows goes; export/lance below the output when left out.", changes="nothing")
    partial: bool = key(False, "Register versions of a run that stopped short, too.", changes="nothing")

    @model_validator(mode="after")
    def _fits_the_format(self) -> Sink:
        if self.format == "iceberg" and not _TABLE.fullmatch(self.table):
            raise ValueError(
                f"table: wanted namespace.table, got '{self.table[:80]}'"
                if self.table
                else "table: wanted namespace.table, got none"
            )
        for name, formats in (("table", ("iceberg",)), ("catalog", ("iceberg",)), ("path", ("lance",))):
            if name in self.model_fields_set and self.format not in formats:
                where = "the table is beside the parts" if self.format == "delta" else "that is a key of Iceberg"
                raise ValueError(f"{name}: wanted keys of {self.format}, got '{name}': {where}; leave it out")
        if "://" in self.path and ("@" in urlsplit(self.path).netloc or _has_credentials(self.path)):
            raise ValueError("path: wanted an address without user or password, got one with; use the standard AWS chain")
        return self

    def label(self) -> str:
        """What people call the table."""
        if self.format == "iceberg":
            at = f" at {self.catalog.uri}" if self.catalog.uri else ""
            return f"iceberg {self.catalog.name}:{self.table}{at}"
        return f"{self.format} {self.path}".rstrip()
