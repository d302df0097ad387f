"""What an error of a server means: for this ask, for every ask, or for now.

Servers agree on few codes, so the status, the codes in the body and well-known phrases are looked at in turn. A server's text may
quote the prompt: it is read here, and never repeated.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from synth_ray.ask.server_text import ErrorText, wait_in
from synth_ray.errors import AskFailed, ServiceRefused
from synth_ray.records import Reason


class Meaning(StrEnum):
    """What to do about an error: see docs/teachers.md."""

    KEY = "the key is refused"
    CREDIT = "credit or quota is used up"
    MODEL = "the model is not there"
    PATH = "nothing is served at this address"
    FORBIDDEN = "not allowed"
    MODERATED = "the provider's moderation refuses the prompt"
    TOO_LONG = "prompt and max_tokens do not fit"
    PARAMETER = "a parameter is refused"
    TEMPLATE = "the chat template refuses the messages"
    BUSY = "busy"
    RETRY = "failed for now"
    ASK = "the ask is refused"


REFUSES_ALL = {
    Meaning.KEY: "check the key",
    Meaning.CREDIT: "add credit or raise the limit",
    Meaning.MODEL: "check models.model, and what the key may use",
    Meaning.PATH: "check the URL: most end in /v1",
}
"""Errors that every ask meets, and the next move."""


@dataclass(frozen=True, slots=True)
class ServerError:
    """One error. `parameter` is the refused key of the request. `wait_s` is how long the server asks to be left alone; 0 if it
    does not say. `text` is for the program alone.
    """

    meaning: Meaning
    status: int
    parameter: str = ""
    is_value: bool = False  # the value is refused, not the parameter
    wait_s: float = 0.0
    place: str = ""  # the URL that refused
    text: str = field(default="", repr=False)


_CREDIT = re.compile(
    r"insufficient[ _](?:quota|balance|credit|fund)|exceeded your current quota|out of credits?|credit balance is|"
    r"credits? (?:is |are |has |have )?(?:been )?(?:exhausted|used up|depleted)|payment required|arrearage|"
    r"account (?:is |has been |was )?(?:not active|inactive|suspended|deactivated|disabled|blocked|flagged|terminated)"
)
_CREDIT_BEYOND_A_PROMPT = re.compile(
    r"billing|no (?:more )?credits? (?:left|remain|avail)|quota[ _]?exceeded|budget[ _]?(?:has been )?exceeded|"
    r"(?:spend|spending|usage) limit"
)
"""Words that a prompt may hold too, so they count only in errors that quote none."""
_RATE = re.compile(r"per[ _-]?(?:minute|second|hour|day)|rate[ _-]?limit|\b[rt]p[md]\b|requests per")
_CREDIT_CODES = ("insufficientquota", "insufficientbalance", "insufficientcredit", "billing", "arrearage", "paymentrequired")
_MODERATION_CODES = (
    "contentfilter", "contentpolicy", "contentmanagement", "moderat", "responsibleai", "datainspection", "invalidprompt",
    "guardrail", "safety", "sensitive", "policyviolation", "prohibitedcontent", "flagged",
)  # fmt: skip
_MODERATION = re.compile(
    r"moderat|flagged|content[ _-](?:filter|polic|management)|(?:usage|safety|acceptable use) polic|"
    r"safety (?:system|filter|check)|violat\w* .{0,60}polic|guardrail|content exists risk|high risk|"
    r"inappropriate|prohibited|responsible ai|sensitive|unsafe|harmful|敏感"
)
_MODEL_CODES = ("modelnotfound", "deploymentnotfound", "invalidmodel", "modelnotavailable")
_MODEL = re.compile(
    r"model\b.{0,120}?(?:not found|does not exist|doesn't exist|not a valid model|not available|is unknown|not supported)|"
    r"(?:no such|unknown|invalid|unsupported) model\b|not a valid model|no (?:allowed providers|endpoints found)|try pulling it"
)
_TOO_LONG = re.compile(
    r"context[ _](?:length|window|size|limit)|maximum context|max_model_len|too long|too large|reduce (?:the length|your prompt)|"
    r"max_new_tokens. must be|input length|token limit|exceeds? the (?:available|maximum|max)|"
    r"at most \d+ (?:completion |output )?tokens|less than \d+ tokens|(?:range of|valid) .?max_(?:completion_)?tokens|"
    r"maximum allowed number of output tokens"
)
_TEMPLATE = re.compile(
    r"system role not supported|(?:does not|doesn't|not) support (?:the )?system|system (?:message|instruction)s? (?:is|are) not|"
    r"developer instruction is not enabled|roles must alternate|chat[ _]template"
)
_RENAMED = re.compile(r"instead|not (?:be )?support|unsupported|unknown|unrecogni[sz]ed|extra (?:inputs|fields)|not permitted")
_RANGE = re.compile(r"less than|greater than|between|range|at most|at least|maximum|minimum|[<>]=?|too (?:large|small|high|low)")


def error_in(status: int, text: str, *, sent: Collection[str] = (), headers: Mapping[str, str] | None = None) -> ServerError:
    """The meaning of an error reply. `sent` are the keys of the request's body."""
    body = ErrorText.of(text)
    codes, says = body.codes, body.says
    wait_s = wait_in(headers or {}, says)
    parameter = body.parameter(sent)
    meaning = _meaning(status, codes, says, told_wait=wait_s > 0, parameter=parameter)
    is_value = "unsupportedparameter" not in codes and "only the default" not in says and bool(_RANGE.search(says))
    return ServerError(meaning, status, parameter, is_value, wait_s, text=says)


def _meaning(status: int, codes: str, says: str, *, told_wait: bool, parameter: str) -> Meaning:
    only_busy = status == 429 and (told_wait or _RATE.search(says))
    if status == 402 or _has(codes, _CREDIT_CODES) or (_CREDIT.search(says) and not only_busy):
        return Meaning.CREDIT
    if status in (401, 407):
        return Meaning.KEY
    if status in (400, 403, 422, 451) and _is_moderation(status, codes, says, parameter):
        return Meaning.MODERATED
    if status in (403, 429) and _CREDIT_BEYOND_A_PROMPT.search(says) and not only_busy:
        return Meaning.CREDIT
    if status in (403, 429):
        return Meaning.FORBIDDEN if status == 403 else Meaning.BUSY
    if _has(codes, _MODEL_CODES):
        return Meaning.MODEL
    if status in (404, 405, 410) or 300 <= status < 400:
        return Meaning.MODEL if _MODEL.search(says) else Meaning.PATH
    if status in (413, 414) or (status == 500 and _TOO_LONG.search(says)):
        return Meaning.TOO_LONG
    if status in (408, 409, 425) or status >= 500:
        return Meaning.BUSY if told_wait else Meaning.RETRY
    return _meaning_of_bad_request(codes, says, parameter)


def _is_moderation(status: int, codes: str, says: str, parameter: str) -> bool:
    return status == 451 or _has(codes, _MODERATION_CODES) or (not parameter and bool(_MODERATION.search(says)))


_LIMITS = ("max_tokens", "max_completion_tokens")


def _meaning_of_bad_request(codes: str, says: str, parameter: str) -> Meaning:
    if parameter in _LIMITS:
        return Meaning.PARAMETER if "unsupportedparameter" in codes or _RENAMED.search(says) else Meaning.TOO_LONG
    if parameter:
        return Meaning.PARAMETER
    if _TOO_LONG.search(says):
        return Meaning.TOO_LONG
    if _TEMPLATE.search(says):
        return Meaning.TEMPLATE
    return Meaning.MODEL if _MODEL.search(says) else Meaning.ASK


def _has(codes: str, marks: Collection[str]) -> bool:
    return any(mark in codes for mark in marks)


# As errors of the program.

_KEYS = {
    "max_tokens": "sampling.max_tokens",
    "max_completion_tokens": "sampling.max_tokens",
    "seed": "sampling.per_request_seed",
    "n": "recipe.n",
    "logprobs": "recipe.top_logprobs",
    "top_logprobs": "recipe.top_logprobs",
    "response_format": "recipe.schema",
    "structured_outputs": "recipe.choices",
    "chat_template_kwargs": "models.teacher.chat_template_kwargs",
    "reasoning_effort": "models.teacher.reasoning.effort",
    "thinking_token_budget": "models.teacher.reasoning.budget",
    "thinking": "models.teacher.reasoning.think",
    "reasoning": "models.teacher.reasoning.think",
}
"""The job's keys behind a request's, where they are named differently."""


def key_of(parameter: str) -> str:
    """The job's key behind a parameter of the request."""
    return _KEYS.get(parameter, f"sampling.{parameter}")


def refusal_of(error: ServerError, *, key_env: str = "") -> ServiceRefused:
    """The error for the whole run. `key_env` is the variable that holds the key."""
    advice = REFUSES_ALL.get(error.meaning, "check what the key is allowed to do")
    key = f" ({key_env})" if key_env else ""
    said = f": {error.meaning}" if error.meaning in REFUSES_ALL else ""
    place = f" from {error.place}" if error.place else ""
    return ServiceRefused(f"models: wanted a service that answers, got HTTP {error.status}{place}{said}; {advice}{key}")


def template_refusal(error: ServerError) -> ServiceRefused:
    """The error for a model whose chat template cannot take what the job sends."""
    key = (
        "recipe.system: wanted a model that takes a system message"
        if "system" in error.text
        else ("models.teacher.chat: wanted a model with a chat template for these messages")
    )
    return ServiceRefused(f"{key}, got HTTP {error.status} from {error.place}; leave recipe.system empty, or set chat: false")


def failure_of(error: ServerError) -> AskFailed:
    """The error for one ask alone."""
    if error.meaning is Meaning.MODERATED:
        return AskFailed(Reason.MODERATED, f"HTTP {error.status}")
    if error.meaning is Meaning.TOO_LONG:
        return AskFailed(Reason.PROMPT_TOO_LONG, f"HTTP {error.status}")
    if error.meaning is Meaning.TEMPLATE:
        return AskFailed(Reason.ENGINE_ERROR, f"HTTP {error.status}: {error.meaning} (see recipe.system, models.teacher.chat)")
    said = f" refuses {error.parameter}" if error.meaning is Meaning.PARAMETER else ""
    return AskFailed(Reason.ENGINE_ERROR, f"HTTP {error.status}{said}")


def error_for_status(status: int, text: str) -> AskFailed | ServiceRefused:
    """The error for a reply that is not asked again and not adapted to, such as a line of a batch's result."""
    error = error_in(status, text, sent=SAMPLING_PARAMETERS)
    if error.meaning is Meaning.PARAMETER:
        return ServiceRefused(f"{key_of(error.parameter)}: wanted a model that takes {error.parameter}, got HTTP {status}")
    return refusal_of(error) if error.meaning in REFUSES_ALL else failure_of(error)


SAMPLING_PARAMETERS = (
    "temperature", "top_p", "max_tokens", "presence_penalty", "frequency_penalty", "stop", "seed", "n", "logprobs",
    "top_logprobs", "response_format", "chat_template_kwargs", "reasoning_effort", "thinking_token_budget",
)  # fmt: skip
