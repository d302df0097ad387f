"""Job: the description of a run, parsed once and frozen.

In: one YAML file, or the same as Python values. Out: a frozen document of sections, and its digests. Law: an unknown or wrong key
is an error that names the key, what was wanted, what was got and the nearest known key; all errors are reported at once. Not:
opening anything the job names; importing anything heavy.

Public: `document.Job`, `load.load_job`, `load.job_from`, `section.Section`, `section.key`, `bundled.bundled_teacher_path`,
`bundled.bundled_thinker_path`.
"""
