"""Recipes: how one seed becomes rows.

In: a request (a seed and its few-shot companions) and an `ask`. Out: one draft per declared slot. Law: given the
same answers, a recipe makes the same drafts; it never reads a clock, a file or a random number. Not: engines,
batching, retries, checks or storage; a recipe awaits an answer and that is all it knows.
"""
