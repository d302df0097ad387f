"""Storage: the only access to files, on a disk or in a bucket, and to seeds on the web or the Hugging Face Hub,
where datasets are pushed, too.

In: bytes and a path relative to one root. Out: the same bytes, or an error that says what to do next. Law: an object is visible
whole or not at all; of two writers that `create` or `swap`, exactly one wins; a transient fault is retried within a time budget.
Not: the meaning of the bytes; credentials, which come only from each cloud's standard chain (on the Hub: from `HF_TOKEN`).

Public: `Storage`, `Entry`, `Upload`, `Retry`, `open_storage`, `open_file`, `split_url`, `is_remote`, `job_files.open_output`,
`hub_upload.HubDataset`.
"""

from synth_ray.storage.address import is_remote, open_file, open_storage, split_url
from synth_ray.storage.contract import Entry, Storage, Upload
from synth_ray.storage.retry import Retry

__all__ = ["Entry", "Retry", "Storage", "Upload", "is_remote", "open_file", "open_storage", "split_url"]
