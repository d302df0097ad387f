"""Replace: what stands in a text where a finding was.

In: a value and the findings in it. Out: the value with each finding replaced, and the edits. Law: replaced again and again until
nothing is found, so that scrubbing twice changes nothing; one value has one replacement within a record. Not: finding.

Public: `placeholders.Placeholders`, `surrogates.Surrogates`, `fixpoint.FixpointScrubber`, `rendering.replace_spans`.
"""
