"""Presidio: the stock analyzer, and a fast path with the same findings.

In: a text view. Out: the findings of stock Presidio, without its work on texts that have none. Law: the fast path replaces only
code whose digest it was verified against; any other code runs unchanged. Not: which findings count (detect).

Public: `exact.detectors_of`, `exact.without_duplicates`, `prefilter.Prefilter`, `stock.analyzer`.
"""
