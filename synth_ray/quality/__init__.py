"""Quality: how the generated rows of a dataset differ from real ones, and what a model learns from them.

In: samples of rows, generated and real. Out: measures, each with an interval, thresholds and a verdict. Law: both sides are
compared at equal numbers of rows; a measure warns or fails only where the difference is larger than chance explains; the result
is a function of the samples. Profiles, funnel and leaks are counts: they depend on the rows alone, not on their order, and those
of two parts add up to those of the whole, in bounded memory. Not: reading files or asking models; deciding about single rows, as
`check` and `admit` do.

Public: `narrowing.compare`, `usefulness.usefulness`, `sample.RowSample`, `sample.SampledRow`, `measures.MEASURES`,
`intervals.rate`, `profile.Profile`, `funnel_counts.FunnelCounts`, `leaks.SplitKeys`.
"""
