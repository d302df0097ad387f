"""Where a job's output is: the storage its output section names."""

from __future__ import annotations

from synth_ray.job.output import Output
from synth_ray.storage import Storage, open_storage


def open_output(output: Output) -> Storage:
    """The store under the job's output prefix. Credentials come from the standard AWS chain alone."""
    return open_storage(output.path, endpoint_url=output.endpoint_url or None, region=output.region or None)
