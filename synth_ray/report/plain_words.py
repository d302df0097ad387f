"""Each reason in a few plain words, for a line that has no room for its meaning."""

from __future__ import annotations

from collections.abc import Mapping

from synth_ray.records import Reason

PLAIN_WORDS: Mapping[str, str] = {
    Reason.BROKEN_JSON: "seed is not valid JSON",
    Reason.INVALID_UTF8: "seed is not UTF-8",
    Reason.MISSING_FIELD: "a field is missing",
    Reason.WRONG_TYPE: "a field has another type",
    Reason.EMPTY_SEED: "seed without text",
    Reason.DUPLICATE_SEED: "seed was read before",
    Reason.LINEAGE_CONFLICT: "seed is near two splits",
    Reason.TOO_DEEP: "seed was itself generated",
    Reason.RESERVED_FOR_EVAL: "seed is near an evaluation row",
    Reason.HELD_OUT: "held out to test disclosure",
    Reason.DEADLINE: "took too long",
    Reason.MODERATED: "refused by the provider's filter",
    Reason.PROMPT_TOO_LONG: "prompt too long",
    Reason.ENGINE_ERROR: "no answer from the engine",
    Reason.RECIPE_ERROR: "error in recipe or template",
    Reason.NO_ANSWER: "a step gave no text",
    Reason.VERIFIER_FAILED: "verifier hung or crashed",
    Reason.EMPTY_COMPLETION: "answer is empty",
    Reason.TRUNCATED_THOUGHT: "cut off while it thought",
    Reason.TRUNCATED: "answer was cut off",
    Reason.THOUGHT_IN_ANSWER: "thought left in the answer",
    Reason.TOO_FEW_TOKENS: "answer too short",
    Reason.TOO_MANY_TOKENS: "answer or prompt too long",
    Reason.SCHEMA_MISMATCH: "does not fit the schema",
    Reason.REPETITION_LOOP: "repeats itself in a loop",
    Reason.REFUSAL: "model refused",
    Reason.ECHO: "repeats its prompt",
    Reason.WRONG_LANGUAGE: "wrong language",
    Reason.NOT_TRUE: "verifier found it wrong",
    Reason.POORLY_JUDGED: "judge's score too low",
    Reason.CONTRADICTORY_LABEL: "same input, another label",
    Reason.MOJIBAKE: "broken characters",
    Reason.NO_THOUGHT: "did not think",
    Reason.NO_AGREEMENT: "votes do not agree",
    Reason.TIE: "neither answer is better",
    Reason.NOT_EVOLVED: "no rewrite passed",
    Reason.BAD_TOOL_CALL: "tool call does not fit",
    Reason.TOO_EASY: "answered right too often",
    Reason.TOO_HARD: "answered right too rarely",
    Reason.UNVERIFIABLE: "gold cannot be verified",
    Reason.STUCK: "repeats a tool call",
    Reason.OUT_OF_STEPS: "too many tool calls",
    Reason.WRONG_END_STATE: "wrong result of its tool calls",
    Reason.TOOL_FAILED: "tool hung or died",
    Reason.TOOL_INTERRUPTED: "tool call interrupted",
    Reason.TOO_MUCH_PII: "too much personal data",
    Reason.SCRUB_FAILED: "could not be scrubbed",
    Reason.EXACT_DUPLICATE: "repeats a kept row",
    Reason.NEAR_DUPLICATE: "almost repeats a kept row",
    Reason.SEMANTIC_DUPLICATE: "says the same as a kept row",
    Reason.CONTAMINATED: "quotes an evaluation set",
    Reason.COPIED: "copies a real record",
    Reason.CROSS_SPLIT: "repeats a row of another split",
    Reason.OVER_QUOTA: "enough rows of its kind",
    Reason.REJECTED_BY_PEOPLE: "rejected by a reviewer",
}


def plain_words(reason: str) -> str:
    """The words of a reason; the reason itself where it has none."""
    return PLAIN_WORDS.get(reason, reason)
