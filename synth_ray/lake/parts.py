"""The Parquet files of a version, looked at before a table names them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from synth_ray.errors import JobError, ObjectNotFound
from synth_ray.lake.contract import Part, Version


def read_footer(version: Version, part: Part) -> Any:
    """The part's Parquet metadata. Raises JobError for a part that is missing, broken, or not of the manifest's rows."""
    try:
        with version.storage.open_input(part.path) as file:
            footer = pq.read_metadata(file)
    except ObjectNotFound:
        raise _not_as_wanted(part, "no file") from None
    except (pa.ArrowException, OSError):
        raise _not_as_wanted(part, "a broken file") from None
    if footer.num_rows != part.rows:
        raise _not_as_wanted(part, f"{footer.num_rows:,}")
    return footer


def _not_as_wanted(part: Part, got: str) -> JobError:
    return JobError(
        f"{part.path}: wanted the {part.rows:,} rows of the manifest, got {got}; restore the file, or run the job again"
    )
