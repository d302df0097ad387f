"""Check: does an answer parse, fit, end, make sense, and, where it can be shown, is it true?

In: a staged table. Out: the same with `flags`, and a `reason` where the policy drops. Law: flag first; a flag is a
function of the row's own columns, so that staged text can be checked again. Not: comparing rows with each other.
"""
