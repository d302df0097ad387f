"""Prepare: everything that is decided before a request is sent.

In: a job. Out: its seeds read, split and pinned (`Prepared`), and the schedule of its chunks (`Schedule`). Law: rows read = seeds
planned + seeds rejected with file and line; the same job prepares the same requests; what can be refused is refused here, before
a GPU is asked for. Not: asking, staging, admission.

Public: `preparation.prepare`, `preparation.Prepared`, `schedule.Schedule`, `schedule.open_schedule`, `estimate.estimate`,
`lengths.read_lengths`, `kept_estimate.load_or_make_estimate`.
"""
