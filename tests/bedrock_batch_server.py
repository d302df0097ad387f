"""Bedrock's control plane for batch inference by its documented shapes. Requests and results are in a bucket."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from botocore.session import get_session
from botocore.validate import ParamValidator

from tests.batch_places import Place, PlaceHandler, said

_ROOT = "/model-invocation-job"
_ARN = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/"
_LEAST = 100
_STATUSES = {"completed": "Completed", "failed": "Failed", "cancelled": "Stopped", "expired": "Expired"}
_NAMES = {404: "ResourceNotFoundException", 429: "ThrottlingException"}


class BedrockPlace(Place):
    """`files` is a client of the bucket's store."""

    files: Any = None


class BedrockHandler(PlaceHandler):
    place: BedrockPlace

    def json(self, value: Any, status: int = 200, headers: Any = None) -> None:
        name = _NAMES.get(status, "InternalServerException")
        super().json(
            value if status == 200 else {"message": "SECRET"}, status, {} if status == 200 else {"x-amzn-ErrorType": name}
        )

    def _bucket(self, uri: str) -> dict[str, str]:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return {"Bucket": bucket, "Key": key}

    def post(self, data: bytes) -> None:
        assert self.path == _ROOT
        assert "AWS4-HMAC-SHA256" in self.headers["Authorization"]
        self.place.at("create")
        job = json.loads(data)
        _validate("bedrock", "CreateModelInvocationJob", job)
        same = [old for old in self.place.batches if old["job"]["clientRequestToken"] == job["clientRequestToken"]]
        if same:
            assert same[0]["job"] == job
            self.created({"jobArn": same[0]["arn"]})
            return
        source = self.place.files.get_object(**self._bucket(job["inputDataConfig"]["s3InputDataConfig"]["s3Uri"]))
        lines = [json.loads(line) for line in source["Body"].read().splitlines()]
        for line in lines:
            assert set(line) == {"recordId", "modelInput"}
            _validate("bedrock-runtime", "Converse", {"modelId": job["modelId"], **line["modelInput"]})
        own = [line for line in lines if not line["recordId"].startswith("filler")]
        self.place.bodies.extend(line["modelInput"] for line in own)
        arn = f"{_ARN}{len(self.place.batches):012}"
        self.place.begin(keys=[line["recordId"] for line in own], lines=own, job=job, arn=arn, total=len(lines), filled=False)
        self.created({"jobArn": arn})

    def _shown(self, batch: dict[str, Any]) -> dict[str, Any]:
        ended = self.place.is_ended(batch)
        if ended and not batch["filled"]:
            batch["filled"] = True
            self._write_results(batch)
        too_few = batch["total"] < _LEAST
        status = ("Failed" if too_few else _STATUSES[batch["status"]]) if ended else "InProgress"
        message = {"message": "The batch has fewer records than it must" if too_few else "Internal server error"}
        names = ("jobName", "modelId", "roleArn", "inputDataConfig", "outputDataConfig")
        shown = {"jobArn": batch["arn"], "status": status, "submitTime": "2026-01-01T00:00:00Z"} | (message if ended else {})
        return shown | {name: batch["job"][name] for name in names} | {"totalRecordCount": batch["total"]}

    def _write_results(self, batch: dict[str, Any]) -> None:
        job_id, job = batch["arn"].rpartition("/")[2], batch["job"]
        where = self._bucket(f"{job['outputDataConfig']['s3OutputDataConfig']['s3Uri']}{job_id}/")
        name = job["inputDataConfig"]["s3InputDataConfig"]["s3Uri"].rpartition("/")[2]
        data = self.place.results(batch, *self._lines(batch))
        fillers = b"".join(
            json.dumps(
                {"recordId": f"filler{number}", "modelInput": {}, "error": {"errorCode": 400, "errorMessage": "no"}}
            ).encode()
            + b"\n"
            for number in range(batch["total"] - len(batch["keys"]))
        )
        if batch["done"]:
            self.place.files.put_object(Bucket=where["Bucket"], Key=f"{where['Key']}{name}.out", Body=data + fillers)
        counts = json.dumps({"totalRecordCount": batch["total"]}).encode()
        self.place.files.put_object(Bucket=where["Bucket"], Key=f"{where['Key']}manifest.json.out", Body=counts)

    def get(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/model-invocation-jobs":
            query = parse_qs(parts.query)
            wanted = query["nameContains"][0]
            found = [self._shown(batch) for batch in self.place.listed() if wanted in batch["job"]["jobName"]]
            self.json({"invocationJobSummaries": found})
            return
        number = re.fullmatch(rf"{_ROOT}/{_ARN}0*(\d+)", unquote(parts.path))
        assert number is not None
        batch = self.place.batches[int(number[1])]
        self.place.at("poll")
        shown = self._shown(batch)
        if shown["status"] == "Completed":
            self.place.at("download")
        self.json(shown)

    def _lines(self, batch: dict[str, Any]) -> Any:
        def answer(number: int) -> Any:
            line = batch["lines"][number]
            text = line["modelInput"]["messages"][-1]["content"][-1]["text"]
            output = {
                "output": {"message": {"role": "assistant", "content": [{"text": said(text)}]}},
                "stopReason": "end_turn",
                "usage": {
                    "inputTokens": 7,
                    "cacheWriteInputTokens": 2,
                    "cacheReadInputTokens": 1,
                    "outputTokens": 5,
                    "totalTokens": 15,
                },
            }
            odd = self.place.odd(text)
            if odd and "error" in odd:
                return {"recordId": line["recordId"], "modelInput": line["modelInput"], **odd}
            return {"recordId": line["recordId"], "modelInput": line["modelInput"], "modelOutput": output | (odd or {})}

        return answer, lambda _number: None


@cache
def _input_shape(service: str, operation: str) -> Any:
    """Read once: a batch has a hundred lines, and a service's model takes long to read."""
    return get_session().get_service_model(service).operation_model(operation).input_shape


def _validate(service: str, operation: str, arguments: dict[str, Any]) -> None:
    report = ParamValidator().validate(arguments, _input_shape(service, operation))
    assert not report.has_errors(), report.generate_report()
