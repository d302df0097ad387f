"""Evaluate: how many cases of an evaluation set a system answers right, and whether it got worse.

In: cases (a dataset's evaluation splits, or any file of rows), a target that answers them, perhaps a judge and a baseline. Out: a
verdict for every case, a summary with intervals, and the files `results.jsonl`, `junit.xml` and `eval.json`. Law: every case ends
once, as passed, wrong, failed (no answer) or undecided (no verifier can tell), and only passed counts as passed; the files are a
function of the cases, the answers and the judge's scores; an ask that was answered before an interruption is not sent again. Not:
making cases (the recipe `edge_cases`), or anything of a run.

Public: `cases.read_cases`, `target.open_target`, `asking.evaluate`, `verdicts.Grader`, `summary.summarise`,
`comparison.compare`, `results.write_results`.
"""
