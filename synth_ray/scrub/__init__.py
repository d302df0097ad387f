"""Scrub: find personal data and secrets and replace them.

In: a staged table, or any value. Out: the same with findings replaced, counted and, for a value, listed as edits. Law: nothing
that is configured is skipped silently: a missing engine, model or entity stops the job before it starts, and a record that cannot
be scrubbed loses its text. Scrubbing is idempotent. No value that was found appears in a log, an error or an edit. Not: rejecting
rows for other reasons (check, admit), nor a guarantee that nothing was missed (docs/scrubbing.md has the figures).

Public: `scrubber.open_scrubber`, `scrubber.Scrubber`, `seeds.scrubbed_seeds`.
"""
