"""Where a job's output and its journal are: the storage its output section names."""

from __future__ import annotations

import logging

from synth_ray.ask.journal import Journal
from synth_ray.errors import StorageError
from synth_ray.job.document import Job
from synth_ray.job.output import Output
from synth_ray.storage import Storage, open_storage

log = logging.getLogger(__name__)


def open_output(output: Output) -> Storage:
    """The store under the job's output prefix. Credentials come from the standard AWS chain alone."""
    return open_storage(
        output.path,
        endpoint_url=output.endpoint_url,
        region=output.region,
        single_writer=output.single_writer,
    )


def open_journal(job: Job) -> Journal | None:
    """The journal of one worker of the job, or none where the job keeps none."""
    if job.limits.journal_flush_s == 0:
        return None
    return Journal(open_output(job.output), flush_s=job.limits.journal_flush_s, on_trouble=_told)


def _told(error: StorageError) -> None:
    log.warning("the ask journal could not be written, the next flush tries again: %s", error)

