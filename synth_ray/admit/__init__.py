"""Admit: decides every row, in chunk order.

In: staged tables, chunk after chunk. Out: a verdict for each row, with its reason and witness (the kept row it repeats). Law:
verdicts are a function of the staged chunks in their order, however they are batched; a real row is never rejected in favour of a
synthetic one; no kept rows leak between splits. Not: asking, staging, writing.

Public: `admission.Admission`, `verdicts.Policy`, `kept_rows.KeptRows`, `guard.SplitLeakGuard`, `copies.CopyDetector`,
`labels.LabelConflicts`.
"""
