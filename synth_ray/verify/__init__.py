"""Verify: whether an answer is right, as a verifier tells from the answer and its gold alone.

In: the text of an answer, without what was thought before it, and a gold: a number, a label, a form, tests. Out: a verdict.
Law: a verifier that hangs, crashes or says what it may not is told apart from a wrong answer, and a gold that no answer could
meet from both; what a verifier runs ends within its limits, in a process that is killed. Not: which verifier a row calls for,
and what becomes of a wrong answer.

Public: `verdict.Verdict`, `verdict.Verified`, `verdict.Verifier`, `answers.said_number`, `arithmetic.has_wrong_arithmetic`,
`maths.MathVerifier`, `programs.CodeVerifier`, `functions.FunctionVerifier`, `sandbox.Sandbox`, `intervals.wilson`.
"""
