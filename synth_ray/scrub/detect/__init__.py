"""Detect: one finder for each kind of personal data and secret.

In: a text. Out: findings: an entity, its start and end, and a score. Law: a match counts by its check digits, its issuer's range
or the context words beside it, not by its form alone; a configured model is on this machine, or the job stops. Not: replacing
anything.

Public: `patterns.PatternFinder`, `names.NameFinder`, `name_models.open_names`; of each kind, as `cards.find` or `phones.finder`.
"""
