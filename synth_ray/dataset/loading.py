"""Code that loads a dataset, for its card."""

from __future__ import annotations

from synth_ray.storage import split_url


def loading_instructions(url: str, endpoint_url: str | None) -> list[str]:
    """Markdown that shows how to load the dataset from its address."""
    if url.startswith("hf://"):
        name, _, revision = url.removeprefix("hf://datasets/").partition("@")
        return [_HUB.replace("ARGUMENTS", f'"{name}"' + (f', revision="{revision}"' if revision else ""))]
    scheme, bucket, path = split_url(url)
    if scheme == "file":
        return [_LOCAL]
    container, _, account = bucket.partition("@")
    root = repr(f"{container}/{path}" if path else container)
    if scheme == "s3":
        server = f"endpoint_override={endpoint_url!r}" if endpoint_url else ""
        return [_bucket("S3FileSystem", "pyarrow.fs", server, "open_input_stream", root)]
    options = [repr(scheme), *_server_of_cloud(scheme, account, endpoint_url)]
    return [_bucket("FsspecStore", "obstore.fsspec", ", ".join(options), "open", root), _CREDENTIALS[scheme]]


def _server_of_cloud(scheme: str, account: str, endpoint_url: str | None) -> list[str]:
    endpoint = {"gs": "base_url", "az": "endpoint"}[scheme]
    config = {name: value for name, value in (("account_name", account), (endpoint, endpoint_url)) if value}
    is_plain = (endpoint_url or "").startswith("http://")
    return ([f"config={config!r}"] if config else []) + (["client_options={'allow_http': True}"] if is_plain else [])


def _bucket(store: str, module: str, server: str, opening: str, root: str) -> str:
    words = {"STORE": store, "MODULE": module, "SERVER": server, "OPENING": opening, "ROOT": root}
    text = _BUCKET
    for word, value in words.items():
        text = text.replace(word, value)
    return text


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

_BUCKET = """\
```python
import json
import datasets, polars, pyarrow.dataset
from MODULE import STORE

store, root = STORE(SERVER), ROOT
with store.OPENING(f"{root}/manifest.json") as manifest:
    files = [f"{root}/{part['path']}" for part in json.load(manifest)["files"]]
in_pyarrow = pyarrow.dataset.dataset(files, filesystem=store, partitioning="hive")
in_polars = polars.scan_pyarrow_dataset(in_pyarrow)
rows = datasets.Dataset(in_pyarrow.to_table())
```

Go by the list of files, as above, rather than by a pattern: the prefix may also hold parts of an earlier version.
"""

_CREDENTIALS = {
    "gs": "`pip install obstore fsspec`; the credentials are those of GOOGLE_APPLICATION_CREDENTIALS or of the machine.\n",
    "az": "`pip install obstore fsspec`; the credentials are those of the variables AZURE_STORAGE_… or of the machine.\n",
}
