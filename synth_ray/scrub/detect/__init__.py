"""Detect: one finder for each kind of personal data and secret.

In: a text. Out: findings: an entity, where it starts and ends, and a score. Law: a check digit, an issuer's range or the words
beside a match decide, not its form alone; a model that is named is on this machine, or the job stops. Not: replacing anything.

Public: `patterns.PatternFinder`, `names.NameFinder`, `name_models.open_names`; `find` or `finder` of each kind.
"""
