"""Replace: put placeholders or surrogates in place of findings.

In: a value and the findings in it. Out: the value with each finding replaced, and the edits. Law: finding and replacing repeat
until a pass finds nothing, so that scrubbing is idempotent; a value has one replacement within a record. Not: finding.

Public: `placeholders.Placeholders`, `surrogates.Surrogates`, `fixpoint.FixpointScrubber`, `rendering.replace_spans`.
"""
