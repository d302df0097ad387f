"""Batch inference of Amazon Bedrock: requests and results in a bucket, and a job for each batch, which has the batch's name."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Collection, Sequence
from typing import Any

from synth_ray.ask.batches.bedrock_calls import BedrockCalls
from synth_ray.ask.batches.bedrock_converse import converse_input, reply_of
from synth_ray.ask.batches.calls import TryLater, whole_lines
from synth_ray.ask.batches.contract import Status, wait_until_ended
from synth_ray.ask.batches.errors import ProviderError
from synth_ray.ask.batches.records import BatchRecord
from synth_ray.ask.batches.results import EndedBatch, Line, answered, by_custom_id, lines_in, refused
from synth_ray.ask.teacher import Prompt
from synth_ray.errors import ObjectNotFound
from synth_ray.job.models import Model
from synth_ray.records import digest
from synth_ray.storage import Storage, open_storage

log = logging.getLogger(__name__)

_PAGE = 1000
_ENDS = {
    "Completed": "completed", "PartiallyCompleted": "completed", "Failed": "failed", "Stopped": "cancelled", "Expired": "expired",
}  # fmt: skip
_NOT_BEGUN = ("Submitted", "Validating", "Scheduled")
_PASSING = ("internal", "unavailable", "capacity", "timed out", "try again")
_FILLER = "filler"
_LONGEST_HOURS = 168


class BedrockBatches:
    """See `contract.BatchProvider`. A job's name is the batch's; a creation that is repeated under its token creates nothing."""

    most_answers = 1

    def __init__(self, model: Model) -> None:
        assert model.batch is not None
        self._model, self._section = model, model.batch
        self._calls = BedrockCalls(self._section)
        self._files = open_storage(self._section.s3.rstrip("/"), region=self._section.region or None)

    def request(self, prompt: Prompt) -> bytes:
        return _record(prompt.key, converse_input(self._model, prompt))

    async def create(self, record: BatchRecord, requests: Sequence[bytes], known: Collection[str]) -> str:
        missing = self._section.least_requests - len(requests)
        if missing > 0:
            log.warning("models.batch: a batch of %d requests is filled up with %d of one token", len(requests), missing)
        lines = [*requests, *(_record(f"{_FILLER}{number}", _FILLING) for number in range(missing))]
        await asyncio.to_thread(self._files.write, f"in/{record.name}.jsonl", b"\n".join(lines) + b"\n")
        source = {"s3Uri": f"{self._files.url}/in/{record.name}.jsonl", "s3InputFormat": "JSONL"}
        wanted: dict[str, Any] = {
            "jobName": _job_name(record),
            "clientRequestToken": digest(record.name, self._section.s3, self._section.role_arn, self._model.model),
            "roleArn": self._section.role_arn,
            "modelId": self._model.model,
            "modelInvocationType": "Converse",
            "inputDataConfig": {"s3InputDataConfig": source},
            "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": f"{self._files.url}/out/{record.name}/"}},
            "timeoutDurationInHours": min(_LONGEST_HOURS, max(24, self._section.window_hours)),
        }
        patience = self._calls.patience()
        while True:
            created = await self._calls.try_call("create_model_invocation_job", **wanted)
            if not isinstance(created, TryLater) and created.get("jobArn"):
                return str(created["jobArn"])
            failure = created if isinstance(created, TryLater) else TryLater()
            await patience.pause(failure)
            if not failure.is_refusal and (existing := await self.find(record, known)):
                return existing

    async def find(self, record: BatchRecord, known: Collection[str]) -> str:
        token: dict[str, Any] = {}
        while True:
            page = await self._calls.call("list_model_invocation_jobs", nameContains=_job_name(record), maxResults=_PAGE, **token)
            for job in page.get("invocationJobSummaries") or []:
                if job.get("jobName") == _job_name(record):
                    return str(job["jobArn"])
            if not page.get("nextToken"):
                return ""
            token = {"nextToken": page["nextToken"]}

    async def end_of(self, record: BatchRecord, on_begun: Callable[[], None]) -> EndedBatch | None:
        last: dict[str, Any] = {}

        async def look() -> Status:
            nonlocal last
            job = await self._calls.call("get_model_invocation_job", jobIdentifier=record.batch, may_be_unknown=True)
            if job is None:
                return "gone"
            last, status = job, job.get("status")
            if status in _ENDS:
                return "failed" if status == "Failed" else "ended"
            return "waiting" if status in _NOT_BEGUN else "begun"

        if not await wait_until_ended(look, self._section.poll_s, on_begun):
            return None
        lines = await self._lines(last)
        status = _ENDS[last["status"]]
        if lines is None and status != "failed":
            return None
        return EndedBatch(status, _errors(last), by_custom_id(lines or []))

    async def _lines(self, job: dict[str, Any]) -> list[Line] | None:
        """The lines of a job's result files, which are in a folder of its id; None where there are none."""
        place = str(job["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"]).rstrip("/")
        folder = f"{job['jobArn'].rpartition('/')[2]}/"
        store = open_storage(place, region=self._section.region or None)
        total = job.get("totalRecordCount") if job["status"] == "Completed" else None

        async def fetch() -> bytes | None:
            return await asyncio.to_thread(_results_in, store, folder)

        return await whole_lines(fetch, lambda data: lines_in(data, _line), self._calls.patience(), lines=total or 0)


_FILLING = {"messages": [{"role": "user", "content": [{"text": "Say: a"}]}], "inferenceConfig": {"maxTokens": 1}}


def _record(key: str, model_input: dict[str, Any]) -> bytes:
    return json.dumps({"recordId": key, "modelInput": model_input}, ensure_ascii=False).encode("utf-8", "backslashreplace")


def _job_name(record: BatchRecord) -> str:
    return f"synth-ray-{record.name}"


def _results_in(store: Storage, folder: str) -> bytes | None:
    """All result files in a folder, as one; None if there are none."""
    names = sorted(entry.path for entry in store.list(folder) if entry.path.endswith(".jsonl.out"))
    try:
        return b"\n".join(store.read(name) for name in names) if names else None
    except ObjectNotFound:
        return None


def _errors(job: dict[str, Any]) -> list[ProviderError]:
    """A job fails with a sentence: of the service's own fault, or of what is wrong with what it was given."""
    message = str(job.get("message") or "")
    passing = any(mark in message.casefold() for mark in _PASSING)
    return [ProviderError("internal_error" if passing else "job_failed", message)] if job["status"] == "Failed" else []


def _line(line: Line) -> Line | None:
    """A line of the results in OpenAI's form."""
    key = line.get("recordId")
    if "modelOutput" in line:
        return answered(key, reply_of(line["modelOutput"]))
    error = line.get("error")
    if not isinstance(error, dict):
        return None
    code = error.get("errorCode")
    status = code if isinstance(code, int) and 400 <= code < 600 else 500
    return refused(key, status, {"code": "", "message": error.get("errorMessage")})
