"""Scrub: find personal data and secrets and replace them.

In: a staged table, or any value. Out: the same with findings replaced, counted and, for a value, listed as edits. Law: nothing
configured is skipped in silence: an engine, model or entity that is absent stops the job before it starts, and a record that
cannot be scrubbed keeps no text. Scrubbing twice changes nothing. No value reaches a log, an error or an edit. Not: whether a
row is dropped for another reason (check, admit), nor a promise that nothing was missed (docs/scrubbing.md has the figures).
"""
