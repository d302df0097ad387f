"""What each reason means, which stages raise it, and what to change when many rows have it."""

from __future__ import annotations

from collections.abc import Mapping

from synth_ray.records import Reason
from synth_ray.report.answer_reasons import ASKED, BY_RECIPE, CHECKED
from synth_ray.report.reason_entry import Entry

_SEEDS: dict[Reason, Entry] = {
    Reason.BROKEN_JSON: Entry(
        ("seed",),
        "A line, or an element of a JSON array, is not valid JSON, repeats a key in one object, or is nested too deep.",
        "Repair the file at the lines that the manifest names; for one object per line set `seeds.format` to jsonl.",
    ),
    Reason.INVALID_UTF8: Entry(
        ("seed",),
        "A row holds bytes that are not UTF-8, or a lone surrogate.",
        "Convert the file to UTF-8; the job has no key for another encoding. Bytes such as images are not read where "
        "`seeds.fields` names the columns that are wanted.",
    ),
    Reason.MISSING_FIELD: Entry(
        ("seed", "recipe"),
        "A row lacks a field: a seed its prompt; a row of `mix.real`, or a seed of `build` or `fill`, its answer.",
        "Map the field by `seeds.fields` (our name: the file's), or set `seeds.shape`; with `fill` an answer can be asked by "
        "`recipe.answer`.",
    ),
    Reason.WRONG_TYPE: Entry(
        ("seed", "recipe"),
        "A field has another type than text, a CSV row has a stray quote or more or fewer cells than its header, or a field "
        "differs from the folder `name=value` that its file is in.",
        "Correct the mapping in `seeds.fields` or the `seeds.shape`; in a CSV file look for quotes that do not close.",
    ),
    Reason.EMPTY_SEED: Entry(
        ("seed",), "The prompt of a seed has no text.", "Remove such rows, or map another field to the prompt by `seeds.fields`."
    ),
    Reason.DUPLICATE_SEED: Entry(
        ("seed",),
        "The same seed was read before, or became the same once personal data was scrubbed from it.",
        "Nothing is lost. If the seeds differ in a field that was not read, add it to `seeds.fields`.",
    ),
    Reason.LINEAGE_CONFLICT: Entry(
        ("seed",),
        "A seed is near two groups of seeds that are in different splits already.",
        "Raise `split.group_at`, or remove near-duplicate seeds.",
    ),
    Reason.TOO_DEEP: Entry(
        ("seed",),
        "A seed was made by a model, and is more generations away from real data than the job allows.",
        "Use real seeds, or raise `seeds.allow_depth` on purpose.",
    ),
    Reason.RESERVED_FOR_EVAL: Entry(
        ("seed",),
        "A seed is in one group with a real evaluation row, so it may not be trained on.",
        "Remove seeds that repeat evaluation rows; `split.group_at` is the similarity from which a seed is near one.",
    ),
    Reason.HELD_OUT: Entry(
        ("seed",),
        "A record that `stand_in` holds out on purpose, to test whether the rows disclose the records that were shown.",
        "Nothing is wrong: `recipe.holdout` is the share that is held out.",
    ),
}

_SCRUBBED: dict[Reason, Entry] = {
    Reason.TOO_MUCH_PII: Entry(
        ("seed", "scrub"),
        "More personal data was found than a row may hold.",
        "Raise `scrub.max_findings`, or take kinds that are false alarms out of `scrub.entities`.",
    ),
    Reason.SCRUB_FAILED: Entry(
        ("seed", "scrub"),
        "The row could not be scrubbed: an error, too much time, or findings in every round of replacement. Its text is dropped.",
        "Raise `scrub.record_timeout_s` for very long rows; the log names each row and its cause.",
    ),
}

_ADMITTED: dict[Reason, Entry] = {
    Reason.EXACT_DUPLICATE: Entry(
        ("admit",),
        "The compared text is that of a kept row.",
        "Raise `sampling.temperature`, use more varied seeds, or compare other columns (`dedup.compares`).",
    ),
    Reason.NEAR_DUPLICATE: Entry(
        ("admit",),
        "The compared text shares most of its word n-grams with a kept row.",
        "Raise `dedup.threshold`; leave out what a template puts into every row (`dedup.mask`); use more varied seeds.",
    ),
    Reason.SEMANTIC_DUPLICATE: Entry(
        ("admit",),
        "The row says the same as a kept row, in other words.",
        "Raise `dedup.semantic.threshold`, or leave `dedup.semantic` out.",
    ),
    Reason.CONTAMINATED: Entry(
        ("admit",),
        "The row quotes an evaluation set that the job stays clear of; the detail names the set.",
        "Remove the set's texts from the seeds; `decontaminate.ngram` and `decontaminate.coverage` are the limits.",
    ),
    Reason.COPIED: Entry(
        ("admit",),
        "A stand-in repeats a real record, a passage of one, or a planted canary, be it in its thought; the detail says which.",
        "Show fewer records (`recipe.shots`) or take another teacher; `recipe.longest_run` and `recipe.coverage` are the limits.",
    ),
    Reason.CROSS_SPLIT: Entry(
        ("admit",),
        "The row repeats a kept row of another split, or shares 13 words in a row with one across the train/evaluation boundary.",
        "Mask what a template puts into every row (`dedup.mask`); use seeds that differ more; or evaluate on real rows alone "
        "(`split.fractions`, `split.real`).",
    ),
    Reason.OVER_QUOTA: Entry(
        ("admit",),
        "The dataset, or the row's cell of the balance, has as many rows as it may have.",
        "Nothing is wrong. Raise `target.accepted`, `target.balance.up_to` or `mix.max_synthetic_share` for more rows.",
    ),
    Reason.REJECTED_BY_PEOPLE: Entry(
        ("admit",),
        "People who reviewed the row rejected it.",
        "Nothing is wrong. Leave the form out of `review.verdicts` to keep such rows.",
    ),
}

ENTRIES: Mapping[Reason, Entry] = _SEEDS | ASKED | CHECKED | BY_RECIPE | _SCRUBBED | _ADMITTED
"""Every reason, in the order of `records.Reason`."""
