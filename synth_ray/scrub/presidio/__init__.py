"""Presidio: the stock analyzer and a fast path with the same findings.

In: a text view. Out: the findings stock Presidio has, without the work it does for texts that hold none. Law: the fast path is
used only for code whose digest it was checked against; anything else runs unchanged. Not: which findings count (detect).

Public: `exact.detectors_of`, `exact.without_duplicates`, `prefilter.Prefilter`, `stock.analyzer`.
"""
