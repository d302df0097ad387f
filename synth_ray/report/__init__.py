"""Report: what happened to every row.

In: a manifest. Out: the funnel as text and as one self-contained HTML page. Law: only counts, never a row's text; the page warns
when the funnel does not add up. Not: measuring anything; every figure shown is in the manifest.

Public: `funnel.funnel`, `funnel.by_stage`, `funnel.funnel_text`, `page.page`, `gates.failed_gates`, `reasons.ENTRIES`.
"""
