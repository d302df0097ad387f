"""Storage: the only door to files, on a disk or in a bucket.

In: bytes and a path relative to one root. Out: the same bytes, or an error that says what to do next. Law: an object is
visible whole or not at all; `create` and `swap` let exactly one of two writers win; a fault that may pass is retried
within a budget. Not: what the bytes mean; any credential, which only the standard AWS chain knows.
"""

from synth_ray.storage.address import open_file, open_storage, split_url
from synth_ray.storage.contract import Entry, Storage, Upload
from synth_ray.storage.retry import Retry

__all__ = ["Entry", "Retry", "Storage", "Upload", "open_file", "open_storage", "split_url"]
