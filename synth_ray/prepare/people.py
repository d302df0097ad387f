"""The rows that people rejected in a review."""

from __future__ import annotations

from synth_ray.errors import JobError
from synth_ray.job.document import Job
from synth_ray.review.verdicts import read_verdicts, rejected_ids
from synth_ray.storage.job_files import open_input


def read_rejections(job: Job) -> frozenset[str]:
    """The ids of the rows that most of their reviewers rejected. Raises JobError for a form that cannot be read."""
    reviews = []
    for path in job.review.verdicts:
        try:
            with open_input(path, **job.output.server_for(path)) as file:
                reviews += read_verdicts(file, name=path)
        except JobError as error:
            raise type(error)(f"review.verdicts: {error}") from None
    return rejected_ids(reviews)
