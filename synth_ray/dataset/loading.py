"""Code that loads a dataset, for its card."""

from __future__ import annotations


def loading_instructions(url: str, endpoint_url: str | None) -> list[str]:
    """Markdown that shows how to load the dataset from its address."""
    if url.startswith("hf://"):
        name, _, revision = url.removeprefix("hf://datasets/").partition("@")
        return [_HUB.replace("ARGUMENTS", f'"{name}"' + (f', revision="{revision}"' if revision else ""))]
    if not url.startswith("s3://"):
        return [_LOCAL]
    server = f"endpoint_override={endpoint_url!r}" if endpoint_url else ""
    return [_S3.replace("SERVER", server).replace("ROOT", repr(url.removeprefix("s3://")))]


_HUB = """\
```python
import datasets

rows = datasets.load_dataset(ARGUMENTS)
```
"""

_LOCAL = """\
From the folder of this card:

```python
import json, os
import datasets, duckdb, polars, pyarrow.dataset

rows = datasets.load_dataset(os.getcwd())

files = [part["path"] for part in json.load(open("manifest.json"))["files"]]
in_duckdb = duckdb.read_parquet(files, hive_partitioning=True)
in_polars = polars.scan_parquet(files, hive_partitioning=True)
in_pyarrow = pyarrow.dataset.dataset(files, partitioning="hive")
```

Go by the list of files, as above, rather than by a pattern: a folder may also hold parts of an earlier version.
"""

_S3 = """\
```python
import json
import datasets, polars, pyarrow.dataset
from pyarrow.fs import S3FileSystem

store, root = S3FileSystem(SERVER), ROOT
with store.open_input_stream(f"{root}/manifest.json") as manifest:
    files = [f"{root}/{part['path']}" for part in json.load(manifest)["files"]]
in_pyarrow = pyarrow.dataset.dataset(files, filesystem=store, partitioning="hive")
in_polars = polars.scan_pyarrow_dataset(in_pyarrow)
rows = datasets.Dataset(in_pyarrow.to_table())
```

Go by the list of files, as above, rather than by a pattern: the prefix may also hold parts of an earlier version.
"""
