"""Where the dataset goes, and the layout of its files. It has no credentials: they come from the cloud's standard chain."""

from __future__ import annotations

import math
import re
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import field_validator, model_validator

from synth_ray.job.section import Section, key

Column = Literal["string", "int", "float", "bool", "strings"]
"""The type of a promoted column. `strings` is a list of strings."""

MAX_PARTITIONS = 256
"""Folders in one split: each has an open file and a row group in memory while the dataset is written."""

_AZURE = re.compile(r"abfss://[a-z0-9-]+@[a-z0-9]+\.dfs\.core\.windows\.net(?:/|$)")
"""Here an @ is between the container and the account."""

_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


class Output(Section):
    """The dataset's address and files. `output: out/demo` is short for `output: {path: out/demo}`."""

    path: str = key(
        ...,
        "A local folder, s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or abfss://…",
        min_length=1,
        changes="nothing",
    )
    endpoint_url: str | None = key(None, "Another server than the cloud's own, as http(s)://host[:port].", changes="nothing")
    region: str | None = key(None, "The S3 bucket's region; left out, the AWS chain's.", changes="nothing")
    single_writer: bool = key(
        False,
        "Promise that only one driver ever writes here, for a store without conditional writes; the card mentions it.",
        changes="nothing",
    )
    license: str = key(
        "", "The dataset's licence for its card, as an SPDX id; the teacher's own terms come first.", changes="nothing"
    )
    columns: dict[str, Column] = key(
        dict, "Fields of the recipe or the seeds that become columns, with their types.", changes="admit"
    )
    partition_by: dict[str, list[str]] = key(
        dict,
        "Columns that become folders, each with the closed list of its values. Any other value becomes null: it is in no path.",
        changes="admit",
    )
    part_rows: int = key(1_000_000, "Most rows in one file.", ge=1, changes="nothing")
    part_bytes: int = key(1_000_000_000, "Most bytes of rows, before compression, in one file.", ge=1024, changes="nothing")
    row_group_rows: int = key(
        10_000,
        "Most rows in one row group: the unit that a reader loads and a writer keeps in memory.",
        ge=1,
        le=50_000,
        changes="nothing",
    )
    row_group_bytes: int = key(
        64 * 2**20,
        "Most bytes of rows, before compression, in one row group.",
        ge=1024,
        le=128 * 2**20,
        changes="nothing",
    )
    compression: Literal["zstd", "snappy", "none"] = key("zstd", "How Parquet pages are compressed.", changes="nothing")

    def server_for(self, address: str) -> dict[str, Any]:
        """`endpoint_url` and `region` for an address: those of the output, unless the two are of different clouds."""
        kinds = {_kind(self.path), _kind(address)} - {""}
        return {"endpoint_url": self.endpoint_url, "region": self.region} if len(kinds) < 2 else {}

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value

    @field_validator("path", "endpoint_url")
    @classmethod
    def _without_credentials(cls, value: str | None) -> str | None:
        if value and "://" in value and "@" in urlsplit(value).netloc and not _AZURE.match(value):
            raise ValueError("wanted an address without user or password, got one with; use the cloud's standard chain")
        return value

    @field_validator("endpoint_url")
    @classmethod
    def _is_http(cls, value: str | None) -> str | None:
        if value is not None and not re.match(r"https?://[^/?#]+", value):
            raise ValueError("wanted http(s)://host[:port], got another form")
        return value

    @field_validator("columns", "partition_by")
    @classmethod
    def _plain_names(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if not _FIELD.fullmatch(name) or name in RESERVED:
                raise ValueError(f"wanted a plain column name that the dataset does not have, got '{name[:60]}'")
        return value

    @field_validator("partition_by")
    @classmethod
    def _closed_values(cls, value: dict[str, list[str]]) -> dict[str, list[str]]:
        if math.prod(len(values) + 1 for values in value.values()) > MAX_PARTITIONS:
            raise ValueError(f"wanted at most {MAX_PARTITIONS} folders in a split, got more; partition by less")
        for name, values in value.items():
            if not values or len(set(values)) != len(values):
                raise ValueError(
                    f"wanted the values of '{name}', each once, got {len(values)}, {len(set(values))} of them different"
                )
            if any(not v or len(v.encode()) > 60 or v.startswith("__HIVE") or not v.isprintable() for v in values):
                raise ValueError(f"wanted printable values of at most 60 bytes for '{name}', got another one")
            if not all(any(c.isalpha() for c in v) for v in values):
                raise ValueError(
                    f"wanted a letter in each value of '{name}', for readers take a folder named 7 or 2026-01-02 for a "
                    "number or a date, got one without; name the values in the recipe"
                )
        return value


def _kind(address: str) -> str:
    """Which cloud an address is of; empty for a folder."""
    scheme = address.partition("://")[0] if "://" in address else ""
    return {"abfss": "az", "file": ""}.get(scheme, scheme)


RESERVED = frozenset(
    {
        "id",
        "messages",
        "prompt",
        "completion",
        "fields",
        "split",
        "origin",
        "depth",
        "seed",
        "lineage",
        "teacher",
        "revision",
        "recipe",
        "prompt_digest",
        "ask_digest",
        "prompt_tokens",
        "completion_tokens",
        "finish_reason",
        "verdict",
        "reason",
        "detail",
        "witness",
        "similarity",
    }
)
"""Columns of every row: a declared column must have another name."""
