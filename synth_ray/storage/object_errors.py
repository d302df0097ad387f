"""Translates errors of GCS and Azure without quoting them: a server's message may contain keys and signatures."""

from __future__ import annotations

import re

from synth_ray.errors import Conflict, ObjectNotFound, StorageError
from synth_ray.storage.probe import Unsupported
from synth_ray.storage.retry import Transient

_LIBRARY = re.compile(r"Debug source:|^Generic \w+ error: ")
"""In the text of every error of obstore. Some have a class of Python's: FileNotFoundError, and of an upload OSError, whose text
may lack the first.
"""

_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_CODE = re.compile(r"<Code>([A-Za-z]{1,60})</Code>")
_NETWORK = re.compile(r"HttpError \{\s*kind: ([A-Z][A-Za-z]{1,30})")
_PAST_THE_END = ("Wanted range starting at", "StartTooLarge")
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "FilesystemNotFound", "The specified container does not exist")
_EXPIRED = (
    "ExpiredToken",
    "Signature not valid in the specified time frame",  # Azure: a shared access signature
    "Lifetime validation failed",  # Azure: a bearer token
    "token is expired",
    "has expired",
)
_CLOCK = (
    "RequestTimeTooSkewed",
    "Request date header too old",
    "reasonable timeframe",  # Google's token server
)
_UNTRUSTED = ("InvalidCertificate", "UnknownIssuer", "certificate verify failed")
_UNREADABLE = ("OpenCredentials", "DecodeCredentials", "ReadPem", "MissingKey", "InvalidKey")
_BUSY = {408, 425, 429}
_ADVICE = {
    "expired": "credentials that expired; renew them, then run the same command: it goes on where it stopped",
    "unknown": "credentials that expired or that it does not know; renew them, or correct GOOGLE_… or AZURE_…, and run again",
    "denied": "no permission; the role must allow to read, write, delete and list objects here (a signature may have expired)",
    "none": "no credentials; set them by the cloud's standard chain: environment, file or the identity of the machine or pod",
    "bucket": "no such bucket; create it or correct the address",
    "full": "a full store; free some space, then run the same command: it goes on",
    "clock": "a clock too far from the server's; set this machine's clock",
    "tls": "a certificate that this machine does not trust; correct the endpoint, or install the certificate",
    "locked": "an object that a retention policy or a lease keeps from being replaced; take it off this prefix",
}


class PastTheEnd(ObjectNotFound):
    """A range that begins at or behind the end of the object."""


def credentials_problem(text: str) -> str:
    """What is wrong with the credentials that the environment names, as "x, got y; do z"; empty for anything else."""
    if "Invalid Access Key" in text:
        return "a key in base64, got another form; correct AZURE_STORAGE_ACCOUNT_KEY"
    if any(word in text for word in _UNREADABLE):
        return "a readable file of credentials, got none; correct GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT"
    return ""


def translate_error(error: Exception, name: str, *, answered: bool) -> Exception:
    """The error to raise instead: Transient, one of ours, or, for a bug in this program, the error itself.

    `answered` says that the store has answered before, so that there were credentials.
    """
    text = str(error)
    if not type(error).__module__.startswith("obstore") and not (isinstance(error, OSError) and _LIBRARY.search(text)):
        return error
    found = _STATUS.search(text)
    status = int(found[1]) if found else 0
    if "performing token request" in text or "TokenRequest" in text:
        return _of_token_server(text, status, name, answered)
    if credentials_problem(text):
        return StorageError(f"{name}: wanted {credentials_problem(text)}")
    if any(word in text for word in _NO_BUCKET):
        return _error_for(name, "bucket")
    return _of_condition(error, text, name) or _of_server(text, status, name)


def _of_condition(error: Exception, text: str, name: str) -> Exception | None:
    """What says something of the object itself."""
    kind = type(error).__name__
    if "BlobImmutable" in text or "LeaseIdMissing" in text or "RetentionPolicyNotMet" in text:
        return _error_for(name, "locked")
    if any(word in text for word in _PAST_THE_END) or "status code: 416" in text:
        return PastTheEnd(f"{name}: wanted a range of the object, got its end")
    if kind == "FileNotFoundError" or "status code: 404" in text:
        return ObjectNotFound(f"{name}: wanted an object, got none; check the path")
    if kind in ("AlreadyExistsError", "PreconditionError"):
        return Conflict(f"{name}: the condition of a write did not hold; another writer won")
    return None


def _of_server(text: str, status: int, name: str) -> Exception:
    network = _NETWORK.search(text)
    code = _CODE.search(text)
    if any(word in text for word in _UNTRUSTED):
        return _error_for(name, "tls")
    if status == 501:
        return Unsupported(f"{name}: wanted a store that offers this request, got 501; use another store")
    if status == 507:
        return _error_for(name, "full")
    if status in _BUSY or status >= 500:
        return Transient(f"{code[1] if code else 'an error'} ({status})")
    if not status:
        return _without_status(text, network[1] if network else "", name)
    return _of_refusal(text, status, code[1] if code else "", name)


def _without_status(text: str, network: str, name: str) -> Exception:
    if network or "error decoding response body" in text or "Reqwest" in text or "InvalidListResponse" in text:
        return Transient(network or "a torn answer")
    return StorageError(f"{name}: wanted an answer from the store, got another; check the endpoint")


def _of_refusal(text: str, status: int, code: str, name: str) -> StorageError:
    if any(word in text for word in _CLOCK):
        return _error_for(name, "clock")
    if any(word in text for word in _EXPIRED):
        return _error_for(name, "expired")
    if (
        status == 401
        or (status == 400 and not code)
        or code in ("AuthenticationFailed", "InvalidAuthenticationInfo", "SignatureDoesNotMatch")
    ):
        return _error_for(name, "unknown")
    if status == 403:
        return _error_for(name, "denied")
    return StorageError(
        f"{name}: wanted the store to accept the request, got {code or 'an error'} ({status}); see the store's log"
    )


def _of_token_server(text: str, status: int, name: str, answered: bool) -> Exception:
    """A machine without an identity has no server of tokens, or one that refuses: only a busy one is asked again."""
    if status in _BUSY or status >= 500 or (answered and not status):
        return Transient(f"no token ({status or 'no answer'})")
    if any(word in text for word in _CLOCK):
        return _error_for(name, "clock")
    if "invalid_grant" in text or "AADSTS" in text:
        return _error_for(name, "expired" if any(word in text for word in _EXPIRED) else "unknown")
    return _error_for(name, "none")


def _error_for(name: str, kind: str) -> StorageError:
    return StorageError(f"{name}: wanted to reach it, got {_ADVICE[kind]}")
