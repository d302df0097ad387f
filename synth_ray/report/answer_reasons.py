"""Reasons of answers: the teacher gave none, a check flagged it, or the recipe rejected it."""

from __future__ import annotations

from synth_ray.records import Reason
from synth_ray.report.reason_entry import Entry

ASKED: dict[Reason, Entry] = {
    Reason.DEADLINE: Entry(
        ("ask",),
        "A request had not ended at its deadline.",
        "Raise `limits.request_deadline_s`, lower `sampling.max_tokens`, or lower `cluster.in_flight`; then run with "
        "--retry-failed.",
    ),
    Reason.MODERATED: Entry(
        ("ask",),
        "The provider's moderation refused the prompt, or its content filter left no answer.",
        "Nothing is wrong with the run. Change the template or the seeds, or ask another provider; asking again changes nothing.",
    ),
    Reason.PROMPT_TOO_LONG: Entry(
        ("ask",),
        "A prompt has more tokens than the engine takes.",
        "Raise max_model_len in `models.teacher.engine_args`, cut the seeds, or show fewer examples (`recipe.shots`).",
    ),
    Reason.ENGINE_ERROR: Entry(
        ("ask",),
        "The engine or the server gave no answer: it refused the ask, every try failed, or the request kills engines.",
        "Read the row's detail. For servers see `models.teacher.endpoint.retries` and `models.teacher.endpoint.timeout_s`; run "
        "with --retry-failed after an outage.",
    ),
    Reason.RECIPE_ERROR: Entry(
        ("recipe",),
        "The recipe raised an error, returned what is no list of drafts or fewer than it declares, or held the event loop for "
        "too long; or a template could not be rendered.",
        "The detail says what was wrong, or names the error's type. Look at `synth-ray preview`; correct `recipe.template` or "
        "the recipe's code.",
    ),
    Reason.NO_ANSWER: Entry(
        ("recipe",),
        "A step of the recipe gave no text: an empty instruction, an empty example, or no vote that fits.",
        "Raise `sampling.max_tokens`, look at `synth-ray preview`, and choose a larger teacher (`models.teacher.model`).",
    ),
    Reason.VERIFIER_FAILED: Entry(
        ("recipe",),
        "The verifier hung, crashed, or said what no verdict is, for more than half of a prompt's answers or for its gold; that "
        "says nothing of the answers.",
        "Read the detail with `synth-ray show`; raise `recipe.verifier_seconds` or `recipe.verifier_memory_bytes`, or correct "
        "your function.",
    ),
    Reason.TOOL_FAILED: Entry(
        ("recipe",),
        "A tool hung, died, or its server ended: there is no result that the assistant could see.",
        "The row's `detail` names the tool; raise its `seconds`, or call the function by hand with the row's arguments.",
    ),
    Reason.TOOL_INTERRUPTED: Entry(
        ("recipe",),
        "A run was interrupted, or the teacher failed, during or after a call with effects, so the row is not asked again.",
        "Look in the tool's own records; say `idempotent: true` of a tool that may be called again.",
    ),
}

CHECKED: dict[Reason, Entry] = {
    Reason.EMPTY_COMPLETION: Entry(
        ("check",),
        "The answer has no text, though nothing cut it off; the model may have ended in the middle of its thought.",
        "Look at `sampling.stop` and at the template with `synth-ray preview`.",
    ),
    Reason.TRUNCATED_THOUGHT: Entry(
        ("ask", "check"),
        "The token limit was reached while the model still thought: there is no answer.",
        "Raise `sampling.max_tokens`; or bound the thought by `models.teacher.reasoning.budget`, ask for less by "
        "`models.teacher.reasoning.effort`, or switch it off by `models.teacher.reasoning.think`.",
    ),
    Reason.TRUNCATED: Entry(
        ("ask", "recipe", "check"),
        "The answer was cut off by its token limit, by the provider's content filter, or for a reason that is not known.",
        "Read the row's detail. For the limit raise `sampling.max_tokens`, or ask for less text; what a filter cut is not kept.",
    ),
    Reason.THOUGHT_IN_ANSWER: Entry(
        ("check",),
        "A mark around a thought, such as `<think>`, is in the answer: it was not taken apart, or the model thought twice.",
        "Name the model's `models.teacher.reasoning.parser`, or its `models.teacher.reasoning.marks`.",
    ),
    Reason.TOO_FEW_TOKENS: Entry(
        ("check",), "The answer is shorter than the job wants.", "Lower `check.min_tokens`, or ask for more text."
    ),
    Reason.TOO_MANY_TOKENS: Entry(
        ("check",),
        "The answer or its prompt is longer than the job wants.",
        "Raise `check.max_tokens` or `check.max_prompt_tokens`, or lower `sampling.max_tokens`.",
    ),
    Reason.SCHEMA_MISMATCH: Entry(
        ("recipe", "check"),
        "The answer does not fit the recipe's JSON Schema, lacks a part that was asked for, or breaks a constraint.",
        "Raise `sampling.max_tokens` (JSON that was cut off never fits); simplify `recipe.schema` or `recipe.constraints`.",
    ),
    Reason.REPETITION_LOOP: Entry(
        ("check",),
        "One passage, repeated, fills too large a share of the answer.",
        "Raise `sampling.temperature` or `sampling.repetition_penalty`; `check.max_repetition` is the limit.",
    ),
    Reason.REFUSAL: Entry(
        ("ask", "check"),
        "The answer, or another text that the recipe generated, begins by refusing what was asked, or the reply says that the "
        "model refuses. Real rows are only flagged.",
        "Change the template or the teacher; `check.refusals` adds patterns, `check.drop` without refusal keeps such rows, and "
        "`check.drop_real_refusals` rejects real rows too.",
    ),
    Reason.ECHO: Entry(
        ("check",),
        "The answer repeats its prompt.",
        "Take a chat model, with `models.teacher.chat` on; `check.echo` is the limit.",
    ),
    Reason.WRONG_LANGUAGE: Entry(
        ("check",),
        "The answer is in another language, or most of its letters are of another writing system, than the job wants.",
        "Name the language in the template, or correct `check.language` or `check.script`.",
    ),
    Reason.NOT_TRUE: Entry(
        ("check",),
        "The verifier found the answer wrong: a sum, a label, a form, a claim its passage does not support, or a failed test.",
        "Look at rows in rejected/; check `check.gold`, `check.labels`, `check.pattern`, `check.tests` or `check.min_support`.",
    ),
    Reason.POORLY_JUDGED: Entry(
        ("check",),
        "The judge's mean score is below the minimum.",
        "Lower `check.judge.min_score`, rewrite `check.judge.criteria`, or keep the rows (leave it out of `check.drop`).",
    ),
    Reason.CONTRADICTORY_LABEL: Entry(
        ("admit",),
        "A kept row has the same input and another label. A reason only where `check.drop` names it; the manifest counts such "
        "rows and names the first of them in any case.",
        "Look at the two rows; correct one of the labels, or leave both rows out.",
    ),
    Reason.MOJIBAKE: Entry(
        ("check",),
        "The answer holds text that was read in a wrong encoding, such as `donâ€™t`, or characters that were lost.",
        "Convert the source to UTF-8 again. By default such rows are only flagged; add mojibake to `check.drop` to reject them.",
    ),
    Reason.NO_THOUGHT: Entry(
        ("ask", "check"),
        "The row should have a thought and has none.",
        "Only recorded unless `check.drop` names it; with `recipe.reasoning` at only such a row is always rejected. Ask for a "
        "thought by `models.teacher.reasoning.think`, and name the model's `models.teacher.reasoning.parser`.",
    ),
}

BY_RECIPE: dict[Reason, Entry] = {
    Reason.NO_AGREEMENT: Entry(
        ("recipe",),
        "Votes of `label` agree too little, or a judge of `prefer` changed its mind with the order of the answers.",
        "Lower `recipe.min_agreement`, describe the labels better (`recipe.labels`), or name another `models.judge`.",
    ),
    Reason.TIE: Entry(
        ("recipe",),
        "The judge prefers neither of the two answers, or all answers are the same.",
        "Raise `recipe.temperature` or `recipe.n` so that answers differ; sharpen `recipe.criteria`.",
    ),
    Reason.NOT_EVOLVED: Entry(
        ("recipe",),
        "No rewrite of an instruction passed the rules within the tries of its step.",
        "Raise `recipe.tries` or `recipe.max_words`; the manifest's attempts say which rule eliminated the rewrites.",
    ),
    Reason.BAD_TOOL_CALL: Entry(
        ("recipe",),
        "The arguments of a tool call never fitted the tool's schema.",
        "Raise `recipe.tries` or `sampling.max_tokens`; simplify the schemas in `recipe.tools`.",
    ),
    Reason.TOO_EASY: Entry(
        ("recipe",),
        "The model answers the prompt right more often than the band of pass rates allows.",
        "Take harder seeds, or widen `recipe.band`; `recipe.accept: all` makes rows of all prompts.",
    ),
    Reason.TOO_HARD: Entry(
        ("recipe",),
        "The model answers the prompt right less often than the band allows, or never where a right answer is wanted.",
        "Take easier seeds or a larger model, or widen `recipe.band`; look at the wrong answers for a fault of the gold.",
    ),
    Reason.UNVERIFIABLE: Entry(
        ("recipe",),
        "No answer can be held against the seed's gold: it is missing, cannot be read, is denied by its own reference, or a "
        "program that does nothing passes it. Nothing was asked, unless the verifier abstained on every answer.",
        "Read the detail with `synth-ray show`; correct the seeds, `recipe.gold` or `recipe.verifier`.",
    ),
    Reason.STUCK: Entry(
        ("recipe",),
        "The assistant made the same call twice in a row and got the same result.",
        "Raise `sampling.temperature`; let the tool's error say what to do instead; try a larger teacher.",
    ),
    Reason.OUT_OF_STEPS: Entry(
        ("recipe",),
        "The assistant still called tools after `recipe.max_steps` calls.",
        "Raise `recipe.max_steps`, or give tools that do more in one call.",
    ),
    Reason.WRONG_END_STATE: Entry(
        ("recipe",),
        "The state at the end of the conversation earned less than `recipe.min_reward` from the function `recipe.end_state`.",
        "Read rejected rows: where the function is right, this is what it is for; `recipe.min_reward: 0` keeps such rows.",
    ),
}
