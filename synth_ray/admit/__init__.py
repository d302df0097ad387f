"""Admit: decide every row, in chunk order.

In: staged tables, chunk after chunk. Out: a verdict for each row, with its reason and witness. Law: verdicts are a
function of the staged chunks in their order, whatever the batches; a real row is never given up for a synthetic one;
nothing kept crosses splits. Not: asking, staging, writing.
"""
