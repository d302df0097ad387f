"""Calls of Bedrock's control plane, repeated until they are answered. Credentials come from the AWS chain alone."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from synth_ray.ask.batches.calls import Patience, TryLater
from synth_ray.ask.batches.errors import ProviderError
from synth_ray.errors import MissingResource, ServiceRefused
from synth_ray.job.served import BatchApi

_UNKNOWN = ("ResourceNotFoundException",)
_THERE_ALREADY = ("ConflictException",)


class BedrockCalls:
    """See `calls.Calls`. Each call is made on a thread of its own, as boto3 knows no event loop."""

    def __init__(self, section: BatchApi) -> None:
        """Raises MissingResource where the AWS chain has no region or no credentials."""
        import boto3  # takes a third of a second
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        self._section = section
        timeouts = {"connect_timeout": min(10.0, section.timeout_s), "read_timeout": section.timeout_s}
        config = Config(retries={"mode": "standard", "total_max_attempts": 1}, **timeouts)
        try:
            session = boto3.session.Session()
            if session.get_credentials() is None:
                raise MissingResource("models.batch.provider: wanted AWS credentials for bedrock, got none; set up the AWS chain")
            self._client = session.client("bedrock", region_name=section.region or None, endpoint_url=section.url, config=config)
        except (BotoCoreError, ValueError) as error:
            raise MissingResource(
                f"models.batch.region: wanted a region and settings that boto3 takes, got {type(error).__name__}; set region, or "
                "correct the AWS_ variables"
            ) from None

    def patience(self) -> Patience:
        return Patience(self._section)

    async def call(self, operation: str, *, may_be_unknown: bool = False, **arguments: Any) -> Any:
        """The reply; None where Bedrock does not know what is asked for, if `may_be_unknown`."""
        patience = self.patience()
        while True:
            reply = await self.try_call(operation, may_be_unknown=may_be_unknown, **arguments)
            if not isinstance(reply, TryLater):
                return reply
            await patience.pause(reply)

    async def try_call(self, operation: str, *, may_be_unknown: bool = False, **arguments: Any) -> Any:
        """One try of `call`: TryLater where another may do better."""
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ParamValidationError

        try:
            return await asyncio.to_thread(getattr(self._client, operation), **arguments)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if may_be_unknown and code in _UNKNOWN:
                return None
            return _failure(operation, code, error.response)
        except (NoCredentialsError, ParamValidationError) as error:
            raise ServiceRefused(f"models.batch: wanted bedrock to take {operation}, got {type(error).__name__}") from None
        except BotoCoreError:
            return TryLater()


def _failure(operation: str, code: str, response: Any) -> TryLater:
    """What an error says. Raises ServiceRefused for one that no later call mends."""
    clean = code if re.fullmatch(r"[\w.-]{1,64}", code) else ""
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if status == 429 or ProviderError(clean).meaning == "wait":
        return TryLater(clean or "HTTP 429", replied=True)
    if code in _THERE_ALREADY or status in (408, 409) or status >= 500:
        return TryLater()
    raise ServiceRefused(
        f"models.batch: wanted bedrock to take {operation}, got HTTP {status}{f', {clean}' if clean else ''}; check model, "
        "role_arn, s3, region and what the AWS credentials may do"
    )
