"""The data that passes between rooms: seeds, requests, drafts, the staged table, and the closed list of reasons.

In: values. Out: the same values as Arrow tables. Law: ids are digests of content and position, never of arrival order, time or
host. Not: any file, clock or random number.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

TRAIN, VALIDATION, TEST = SPLITS = ("train", "validation", "test")
EVAL_SPLITS = (VALIDATION, TEST)


class Origin(StrEnum):
    REAL = "real"
    SYNTHETIC = "synthetic"


class Verdict(StrEnum):
    """How a slot ended. A staged row that no stage has rejected or failed has no verdict yet."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    FAILED = "failed"


class Reason(StrEnum):
    """Why a seed was not planned, or a slot was not accepted. A closed list: add a new reason here first."""

    # Seeds that were read and not planned.
    BROKEN_JSON = "broken_json"
    INVALID_UTF8 = "invalid_utf8"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    EMPTY_SEED = "empty_seed"
    DUPLICATE_SEED = "duplicate_seed"
    LINEAGE_CONFLICT = "lineage_conflict"
    TOO_DEEP = "too_deep"
    RESERVED_FOR_EVAL = "reserved_for_eval"
    HELD_OUT = "held_out"
    # Slots that the teacher did not fill.
    DEADLINE = "deadline"
    MODERATED = "moderated"
    PROMPT_TOO_LONG = "prompt_too_long"
    ENGINE_ERROR = "engine_error"
    RECIPE_ERROR = "recipe_error"
    NO_ANSWER = "no_answer"
    VERIFIER_FAILED = "verifier_failed"
    TOOL_FAILED = "tool_failed"
    TOOL_INTERRUPTED = "tool_interrupted"
    # Slots that a check rejects.
    EMPTY_COMPLETION = "empty_completion"
    TRUNCATED_THOUGHT = "truncated_thought"
    TRUNCATED = "truncated"
    THOUGHT_IN_ANSWER = "thought_in_answer"
    TOO_FEW_TOKENS = "too_few_tokens"
    TOO_MANY_TOKENS = "too_many_tokens"
    SCHEMA_MISMATCH = "schema_mismatch"
    REPETITION_LOOP = "repetition_loop"
    REFUSAL = "refusal"
    ECHO = "echo"
    WRONG_LANGUAGE = "wrong_language"
    NOT_TRUE = "not_true"
    POORLY_JUDGED = "poorly_judged"
    CONTRADICTORY_LABEL = "contradictory_label"
    MOJIBAKE = "mojibake"
    NO_THOUGHT = "no_thought"
    # Slots that the recipe itself rejects.
    NO_AGREEMENT = "no_agreement"
    TIE = "tie"
    NOT_EVOLVED = "not_evolved"
    BAD_TOOL_CALL = "bad_tool_call"
    TOO_EASY = "too_easy"
    TOO_HARD = "too_hard"
    UNVERIFIABLE = "unverifiable"
    STUCK = "stuck"
    OUT_OF_STEPS = "out_of_steps"
    WRONG_END_STATE = "wrong_end_state"
    # Slots or seeds that the scrub rejects.
    TOO_MUCH_PII = "too_much_pii"
    SCRUB_FAILED = "scrub_failed"
    # Slots that admission rejects.
    EXACT_DUPLICATE = "exact_duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    SEMANTIC_DUPLICATE = "semantic_duplicate"
    CONTAMINATED = "contaminated"
    COPIED = "copied"
    CROSS_SPLIT = "cross_split"
    OVER_QUOTA = "over_quota"
    REJECTED_BY_PEOPLE = "rejected_by_people"


_TOOL_FAULTS = {Reason.TOOL_FAILED, Reason.TOOL_INTERRUPTED}
FAILED = frozenset(
    {Reason.DEADLINE, Reason.PROMPT_TOO_LONG, Reason.ENGINE_ERROR, Reason.RECIPE_ERROR, Reason.NO_ANSWER, Reason.VERIFIER_FAILED}
    | _TOOL_FAULTS
)


def verdict_of(reason: Reason | None) -> Verdict:
    if reason is None:
        return Verdict.ACCEPTED
    return Verdict.FAILED if reason in FAILED else Verdict.REJECTED


def canonical_json(value: Any) -> bytes:
    """JSON bytes that depend on the value alone: sorted keys, no spaces, UTF-8, lone surrogates escaped."""
    return "".join(_ENCODE(value, 0)).encode("utf-8", "backslashreplace")


def _plain(value: Any) -> Any:
    """A dataclass as a mapping, for the JSON encoder."""
    return asdict(value)


# `json.JSONEncoder` makes such an encoder at every call, which takes longer than the encoding of a few short values.
_ENCODE = json.encoder.c_make_encoder(None, _plain, json.encoder.encode_basestring, None, ":", ",", True, False, True)  # type: ignore[attr-defined]


def digest(*parts: Any, size: int = 16) -> str:
    """Hex BLAKE2b of the canonical JSON of the parts."""
    return hashlib.blake2b(canonical_json(parts), digest_size=size).hexdigest()


def reduce_by_fields(value: Any) -> tuple[Any, ...]:
    """`__reduce__` of a frozen dataclass with slots: pickles its values without their names, since thousands are sent at once."""
    return type(value), tuple(getattr(value, name) for name in value.__slots__)


@dataclass(frozen=True, slots=True)
class Seed:
    """A record that the plan may show to a teacher, real or generated earlier. `fields` has the mapped columns."""

    id: str
    lineage: str
    split: str
    fields: dict[str, Any]
    source: str = ""
    line: int = 0
    origin: Origin = Origin.REAL
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """A numbered unit of work: one seed, its few-shot companions, and the number of slots it fills."""

    id: str
    chunk: int
    position: int
    seed: Seed
    slots: int
    shots: tuple[Seed, ...] = ()
    random_seed: int = 0
    number: int = 0  # its number in the whole plan, whichever chunk it is in

    @property
    def depth(self) -> int:
        return 1 + max(s.depth for s in (self.seed, *self.shots))


Message = dict[str, str]
"""`role` and `content`, and in an assistant's message `reasoning`, where the model thought before it answered."""


@dataclass(frozen=True, slots=True)
class TopK:
    """The `k` likeliest tokens at every position of an answer, packed as little-endian arrays, for a student's training.

    With T tokens in the answer: `prompt` and `answer` are token ids (uint32), of the prompt as it was rendered and of the answer,
    T of them; `ids` (uint32) and `logprobs` (float16) have T x k entries, the likeliest first; `tail` (float16) has for each
    position the probability of all tokens that are not among the k.
    """

    k: int
    prompt: bytes
    answer: bytes
    ids: bytes
    logprobs: bytes
    tail: bytes

    __reduce__ = reduce_by_fields


@dataclass(slots=True)
class Draft:
    """A recipe's result for one slot. A draft with a reason is recorded and counted, but not accepted."""

    prompt: list[Message]
    completion: str
    fields: dict[str, Any] = field(default_factory=dict)
    finish_reason: str = "stop"
    prompt_tokens: int | None = 0  # None where nobody counted them
    completion_tokens: int | None = 0
    reason: Reason | None = None
    detail: str = ""
    logprobs: list[dict[str, Any]] | None = None  # of every token of the answer, in the layout of `LOGPROBS`
    copied: bool = False  # the seed itself, not an answer: has the seed's origin and depth
    reasoning: str = ""  # what the model thought before it wrote the completion
    reasoning_tokens: int | None = None  # of `completion_tokens`; None where nobody counted them
    top_k: TopK | None = None
    embedding: bytes | None = None  # packed int8, of an embedding model that the job asks


@dataclass(slots=True)
class Outcome:
    """How one request ended: a draft per slot, and all tokens it cost, discarded attempts included.

    `nano_usd` is the price of tokens that are billed by count, in billionths of a dollar: integers add up exactly.
    `estimated_tokens` are those, among all, that nobody counted; `reasoning_tokens` those of the completion that were thought;
    `role_tokens` those of roles beside the teacher, as `judge_prompt`.
    """

    request: Request
    drafts: list[Draft]
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    attempts: dict[str, int] = field(default_factory=dict)
    nano_usd: int = 0
    estimated_tokens: int = 0
    reasoning_tokens: int = 0
    role_tokens: dict[str, int] = field(default_factory=dict)


_TURN = [("role", pa.string()), ("content", pa.string())]
MESSAGES = pa.list_(pa.struct(_TURN))
THOUGHT_MESSAGES = pa.list_(pa.struct([*_TURN, ("reasoning", pa.string())]))
"""Messages with what the assistant thought, null where it did not."""
TOP_K = pa.struct([("k", pa.int8()), *((name, pa.binary()) for name in ("prompt", "answer", "ids", "logprobs", "tail"))])
"""See `TopK`."""

_LIKELY = [("token", pa.string()), ("id", pa.int32()), ("logprob", pa.float32())]
LOGPROBS = pa.list_(pa.struct([*_LIKELY, ("top", pa.list_(pa.struct(_LIKELY)))]))
"""Per token: the token of the answer, and the likeliest at its position, itself included. `id` is the teacher's, where known."""

STAGED = pa.schema(
    [
        ("id", pa.string()),
        ("request", pa.string()),
        ("seed", pa.string()),
        ("lineage", pa.string()),
        ("chunk", pa.int32()),
        ("position", pa.int32()),
        ("slot", pa.int16()),
        ("split", pa.string()),
        ("origin", pa.string()),
        ("depth", pa.int8()),
        ("messages", THOUGHT_MESSAGES),
        ("prompt", pa.string()),
        ("completion", pa.string()),
        ("reasoning", pa.string()),  # what the model thought before the completion; null where it did not
        ("fields", pa.string()),  # a JSON object: the recipe's own columns (label, gold answer …)
        ("prompt_digest", pa.string()),
        ("logprobs", LOGPROBS),  # null where not requested, and where scrubbing changed the text of the tokens
        ("top_k", TOP_K),  # as logprobs
        ("finish_reason", pa.string()),
        ("prompt_tokens", pa.int32()),
        ("completion_tokens", pa.int32()),  # the thought's included
        ("reasoning_tokens", pa.int32()),
        ("reason", pa.string()),  # set by ask or scrub; admission turns a flag into a reason later
        ("detail", pa.string()),
        ("flags", pa.list_(pa.string())),  # every flag that check or scrub raised, whether or not it drops the row
        ("pii", pa.map_(pa.string(), pa.int32())),
        ("digest", pa.binary(16)),  # digest of the compared text, for exact duplicates
        ("bands", pa.binary()),  # packed little-endian uint64, one per LSH band
        ("shingles", pa.binary()),  # packed little-endian uint32, distinct, ascending
        ("ngrams", pa.binary()),  # packed little-endian uint32 word hashes in order: prompt, 0, completion[, 0, thought]
        ("embedding", pa.binary()),  # packed int8, one per dimension; null without an embedding model or a text of it
    ]
)
"""A staged chunk. Rows are in (position, slot) order; text is scrubbed; every row is fingerprinted."""


def slot_id(request_id: str, slot: int) -> str:
    return digest("slot", request_id, slot)


def fields_of(rows: pa.Table) -> Iterator[dict[str, Any]]:
    """The recipe's own columns of each staged row."""
    return (json.loads(text) if text and text != "{}" else {} for text in rows["fields"].to_pylist())


def texts_of_turns(messages: pa.ChunkedArray, name: str) -> list[list[str | None]]:
    """One field of every turn of each row; a row without messages has no turns. Much faster than to make each turn a mapping."""
    ends = np.cumsum(pc.fill_null(pc.list_value_length(messages), 0).to_numpy()).tolist()
    turns = pc.list_flatten(messages)
    known = turns.type.get_field_index(name) >= 0
    texts = pc.struct_field(turns, name).to_pylist() if known else [None] * len(turns)
    return [texts[start:end] for start, end in zip([0, *ends], ends, strict=False)]
