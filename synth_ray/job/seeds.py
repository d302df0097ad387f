"""Where seeds come from. Real evaluation rows and evaluation sets are described by the same section."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import field_validator, model_validator

from synth_ray.job.section import Section, key

Format = Literal["auto", "jsonl", "json", "csv", "parquet"]
Shape = Literal["auto", "plain", "alpaca", "sharegpt", "messages", "record"]


class Source(Section):
    """One place to read rows from. `seeds: data.jsonl` is short for `seeds: {path: data.jsonl}`."""

    path: str = key(
        ...,
        "A file, a folder or a glob, here or under s3://, gs://, az:// or hf://datasets/owner/name; or one file at https://.",
        min_length=1,
        changes="nothing",
    )
    format: Format = key("auto", "The file format; auto goes by the extension.", changes="nothing")
    delimiter: str = key(
        "",
        'What separates the columns of a CSV file, such as ";" or "\\t"; left out, a comma, or a tab in .tsv.',
        changes="nothing",
    )
    shape: Shape = key("auto", "The layout of a row; auto recognises it row by row.")
    fields: dict[str, str] = key(
        dict,
        "Our field names, each with the file's, which may be a dotted path such as instances.0.input. Left out, the shape gives "
        "prompt and answer, and other columns keep their names.",
    )
    lineage: str = key("", "Column that names a row's group; rows of a group are always in one split.")
    limit: int | None = key(None, "Read at most this many rows.", ge=1, changes="nothing")
    license: str = key("", "The source's licence, for the card.", changes="nothing")
    origin: Literal["real", "synthetic"] = key("real", "Whether people or a model wrote the rows.")
    depth: int = key(0, "Generations between the rows and real data; a synthetic source has at least 1.", ge=0, le=100)
    allow_depth: int = key(1, "Deepest rows that may be used; deeper ones are rejected(too_deep).", ge=0, le=100)

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, value: str) -> str:
        value = "\t" if value in ("\\t", "tab") else value
        if len(value) > 1 or value in ('"', "\n", "\r", "\0") or not value.isascii():
            raise ValueError('wanted one character such as ";", "|" or "\\t", got something else')
        return value

    @model_validator(mode="after")
    def _depth_fits_origin(self) -> Source:
        if self.origin == "synthetic" and self.depth == 0:
            raise ValueError("wanted depth of at least 1 for a synthetic source, got 0; set depth")
        if self.origin == "real" and self.depth > 0:
            raise ValueError(f"wanted depth 0 for a real source, got {self.depth}; set origin: synthetic")
        return self
