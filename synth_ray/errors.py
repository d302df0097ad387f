"""Every error that passes from one room to another.

SynthRayError                       exit 1   the job failed
├── JobError                        exit 2   the job file or its input is wrong; nothing was spent
│   └── MissingResource             exit 2   something the job names does not exist (model, tokenizer, evaluation set …)
├── StorageError                    exit 1   the store refused a request or failed
│   ├── ObjectNotFound              exit 1   no such object
│   └── Conflict                    exit 1   a conditional write lost: another driver owns this output
├── TeacherError                    exit 1   the engine could not start or answer
│   ├── EngineDied                  exit 1   the engine died; its actor must end its process
│   ├── ServiceRefused              exit 4   the service refuses every ask: key, credit, quota or model; nothing is lost
│   └── AskFailed                   (data)   one ask failed; the row is recorded as failed(reason)
├── GateFailed                      exit 3   a quality gate failed (returned in `Result.exit_code`: the dataset is published)
└── StoppedShort                    exit 4   budget, target or limit reached; a valid partial manifest exists

Errors carry strings only, so that they can be pickled between actors, and never the text of a data row.
A message says what was wanted, what was got, where, and what to do next.
"""

from __future__ import annotations


class SynthRayError(Exception):
    exit_code = 1


class JobError(SynthRayError):
    exit_code = 2


class MissingResource(JobError):
    pass


class StorageError(SynthRayError):
    pass


class ObjectNotFound(StorageError):
    pass


class Conflict(StorageError):
    pass


class TeacherError(SynthRayError):
    pass


class EngineDied(TeacherError):
    pass


class ServiceRefused(TeacherError):
    """Every ask is refused for a reason that only a person can mend: a key, credit, a quota, a model that is not there.

    Law: the run stops, resumable; no row fails, no request is suspected, and no engine is replaced.
    """

    exit_code = 4


class AskFailed(TeacherError):
    """One ask failed for a reason that is recorded as data. `reason` is a value of `records.Reason`."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class GateFailed(SynthRayError):
    exit_code = 3


class StoppedShort(SynthRayError):
    exit_code = 4
