"""Check: is an answer parseable, complete, in the right language, sensible and, where this can be verified, true?

In: a staged table. Out: the same with `flags`. Law: flag first; a flag is a function of the row's own columns, so that staged
text can be checked again. Not: comparing rows with each other.

Public: `checker.open_checker`, `checker.Checker`, `judge_reliability.JudgeReliability`, `agreement.agreement_of`,
`disclosure.disclosure`.
"""
