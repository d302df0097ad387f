"""Translates S3 errors without quoting them: a server's message may contain keys and signatures."""

from __future__ import annotations

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from synth_ray.errors import Conflict, ObjectNotFound, StorageError
from synth_ray.storage.probe import Unsupported
from synth_ray.storage.retry import Transient

_NOT_FOUND = {"404", "NoSuchKey", "NotFound"}
_CONDITION_FAILED = {"412", "PreconditionFailed"}
_BUSY = {
    "ConditionalRequestConflict",  # two conditional writes met: one of them won, so try again to see which
    "InternalError",
    "OperationAborted",
    "RequestLimitExceeded",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"}
_UNKNOWN_KEY = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "AuthorizationHeaderMalformed", "401"}
_NO_BULK_DELETES = {
    "NotImplemented",
    "MethodNotAllowed",
    "MissingContentMD5",
    "InvalidRequest",
    "InvalidArgument",
    "MalformedXML",
}
_BAD_REQUEST = {"400"}  # S3's answer to a HEAD with bad credentials: a response to HEAD has no body with details
_DENIED = {"AccessDenied", "403", "Forbidden", "AllAccessDisabled", "AccountProblem"}
_ADVICE = {
    "expired": "credentials that expired; renew them, then run the same command: it goes on where it stopped",
    "unknown": "credentials it does not know; see the environment or profile of the standard AWS chain, and the region",
    "bare": "a bare 400, which is how S3 answers a HEAD with expired or unknown credentials; renew them and run again",
    "denied": "no permission; the policy must allow Get, Put, Delete, List and AbortMultipartUpload under this prefix",
    "none": "no credentials; set them by the standard AWS chain: environment, profile or instance role",
    "bucket": "no such bucket; create it or correct the address",
    "region": "another region's bucket; set output.region",
    "full": "a full store; free some space, then run the same command: it goes on",
    "clock": "a clock too far from the server's; set this machine's clock",
}


_RETRYABLE = (
    boto.ConnectionError,
    boto.HTTPClientError,
    boto.IncompleteReadError,
    boto.FlexibleChecksumError,
    ResponseParserError,
    HTTPError,
    ConnectionError,
    TimeoutError,
)


class PastTheEnd(ObjectNotFound):
    """A range that begins at or behind the end of the object."""


class Denied(StorageError):
    """The policy does not allow this request."""


def truncated_read(got: int, wanted: int) -> Transient:
    return Transient(f"a torn answer, {got} of {wanted} bytes")


def lacks_bulk_deletes(error: boto.ClientError) -> bool:
    """Whether the store does not know DeleteObjects, or wants a checksum that newer clients no longer send."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return status in (405, 501) or code in _NO_BULK_DELETES


def translate_error(error: Exception, name: str) -> Exception:
    """The error to raise instead: Transient, one of ours, or, for a bug in this program, the error itself."""
    if isinstance(error, boto.ClientError):
        return _of_server(error, name)
    if isinstance(error, (boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError)):
        return _error_for(name, "none")
    if isinstance(error, (boto.TokenRetrievalError, boto.UnauthorizedSSOTokenError, boto.SSOTokenLoadError)):
        return _error_for(name, "expired")
    if isinstance(error, _RETRYABLE) and not isinstance(error, boto.SSLError):
        return Transient(type(error).__name__)
    if isinstance(error, boto.BotoCoreError):
        return StorageError(f"{name}: wanted an answer from S3, got {type(error).__name__}; check endpoint, region and profile")
    return error


def _of_server(error: boto.ClientError, name: str) -> Exception:
    code = str(error.response.get("Error", {}).get("Code", ""))[:60]
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code == "NoSuchBucket":
        return _error_for(name, "bucket")
    if code == "InvalidRange":
        return PastTheEnd(f"{name}: wanted a range of the object, got its end")
    if code in _NOT_FOUND:
        return ObjectNotFound(f"{name}: wanted an object, got none; check the path")
    if code in _CONDITION_FAILED:
        return Conflict(f"{name}: the condition of a write did not hold; another writer won")
    if status == 501:
        return Unsupported(f"{name}: wanted a store that offers this request, got {code} (501); use another store")
    if status == 507:
        return _error_for(name, "full")
    if code in _BUSY or status == 429 or status >= 500:
        return Transient(f"{code} ({status})")
    return _error_of_refusal(code, status, name)


def _error_of_refusal(code: str, status: int, name: str) -> StorageError:
    for codes, kind in ((_EXPIRED, "expired"), (_UNKNOWN_KEY, "unknown"), (_BAD_REQUEST, "bare"), (_DENIED, "denied")):
        if code in codes:
            return Denied(str(_error_for(name, kind))) if kind == "denied" else _error_for(name, kind)
    if code in ("PermanentRedirect", "301", "IllegalLocationConstraintException"):
        return _error_for(name, "region")
    if code in ("QuotaExceeded", "XMinioStorageFull"):
        return _error_for(name, "full")
    if code == "RequestTimeTooSkewed":
        return _error_for(name, "clock")
    return StorageError(f"{name}: wanted S3 to accept the request, got {code or 'an error'} ({status}); see the store's log")


def _error_for(name: str, kind: str) -> StorageError:
    return StorageError(f"{name}: wanted to reach it, got {_ADVICE[kind]}")
