"""Report: say what happened to every row.

In: a manifest. Out: the funnel as text and as one self-contained HTML page. Law: only counts, never a row's text; the
funnel adds up or says that it does not. Not: measuring again; everything shown is in the manifest.
"""
