"""Why an answer ended: a closed list of words, and what each means for the row.

Servers have many words for the same end. `finish_reason_of` makes each of them one of ours; a word that is not in the table stays
as it is, and an answer that ended with it is not taken for whole.
"""

from __future__ import annotations

import re
from typing import Any

from synth_ray.records import Reason

STOP, TOOL_CALLS, LENGTH, CONTENT_FILTER, REFUSAL = "stop", "tool_calls", "length", "content_filter", "refusal"
ERROR, NOT_TEXT = "error", "not_text"

WHOLE = frozenset({STOP, TOOL_CALLS})
"""The answer is all that the model wanted to say."""

_WORDS = {
    STOP: "stop eos eos_token stop_token end_turn end stop_sequence stop_str stop_token_ids complete completed finish finished",
    TOOL_CALLS: "tool_calls tool_call tool_use function_call",
    LENGTH: "length max_tokens max_output_tokens max_completion_tokens max_new_tokens model_length max_length token_limit "
    "model_context_window_exceeded",
    CONTENT_FILTER: "content_filter content_filtered safety recitation blocklist prohibited_content spii image_safety sensitive "
    "guardrail_intervened moderation moderated flagged error_toxic",
    REFUSAL: "refusal",
    ERROR: "error engine_error network_error server_error internal_error insufficient_system_resource",
}
_OURS = {word: ours for ours, words in _WORDS.items() for word in words.split()}


def finish_reason_of(word: Any) -> str:
    """The word of our list for a server's. A server that says nothing has ended as it wanted: older ones never say more."""
    if word is None or word == "":
        return STOP
    text = re.sub(r"[^0-9A-Za-z_.-]", "_", word)[:40] if isinstance(word, str) else type(word).__name__
    return _OURS.get(text.casefold().replace("-", "_"), text)


def fault_of_ending(finish_reason: str, text: str) -> tuple[Reason, str] | None:
    """Why an answer that ended so is not accepted, whatever the job's checks say, and the row's detail; None if they decide.

    An answer cut by its token limit is left to the checks: a job may keep it.
    """
    match finish_reason:
        case "" | "stop" | "tool_calls" | "length":
            return None
        case "content_filter" if text.strip():
            return Reason.TRUNCATED, "the provider's content filter cut the answer"
        case "content_filter":
            return Reason.MODERATED, "the provider's content filter left no answer"
        case "refusal":
            return Reason.REFUSAL, "the reply says that the model refuses"
        case "error":
            return Reason.ENGINE_ERROR, "the server ended the answer with an error"
        case "not_text":
            return Reason.ENGINE_ERROR, "the answer is not text"
    return Reason.TRUNCATED, f"the answer ended with '{finish_reason}', which is not known to mean a whole answer"
