"""Report: what happened to every row.

In: a manifest. Out: the funnel as text and as one self-contained HTML page; which gates hold, also as JUnit XML. Law: only
counts, never a row's text; the page warns when the funnel does not add up. Not: measuring anything; every figure shown is in
the manifest.

Public: `funnel.funnel`, `funnel.funnel_text`, `page.page`, `gates.gate_results`, `junit.junit_xml`, `reasons.ENTRIES`,
`plain_words.plain_words`.
"""
