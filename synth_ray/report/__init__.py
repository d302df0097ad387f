"""Report: what happened to every row, and whether the rows are worth training on.

In: a manifest, the stored example rows, gates. Out: the funnel as text; one self-contained HTML page; a comparison of two
datasets; which gates hold, also as JUnit XML. Law: every figure is in the manifest, and the bytes are a function of what goes in;
the text of rows is shown only as it is stored in the examples, scrubbed, and is escaped, bounded and never run; what is absent is
left out. Not: measuring anything, or choosing the examples.

Public: `funnel.funnel`, `funnel.by_stage`, `funnel.funnel_text`, `page.page`, `comparison.comparison_page`,
`comparison.comparison_text`, `gates.gate_results`, `junit.junit_xml`, `reasons.ENTRIES`, `plain_words.plain_words`.
"""
