"""Recipes: how one seed becomes rows.

In: a request (a seed and its few-shot examples) and an `ask`. Out: one draft per declared slot. Law: given the same answers, a
recipe makes the same drafts; it never reads a clock, a file or an unseeded random number. Not: engines, batching, retries, checks
or storage; a recipe only awaits answers.

Public: `contract.Recipe` and what a recipe is given, `catalogue.find`, `catalogue.BUILT_IN`.
"""
