"""Route: what each command does with a job, as a short story.

In: a job, and a factory of its worker pool. Out: a finished dataset (`run_job`), another version of one from its committed chunks
(`curate_job`), its first rows, published nowhere (`preview_rows`), every reason why it cannot be made (`preflight`), or the
engine arguments that are fastest for it (`sweep`). Law: one driver per output at a time; generated out of order, staged whole,
admitted in chunk order, published last. Not: how any step works; those are the rooms below.

Public: `run.run_job`, `ending.Result`, `curation.curate_job`, `preflight.preflight`, `preview.preview_rows`,
`engine_sweep.sweep`, `output_lease.hold_lease`.
"""
