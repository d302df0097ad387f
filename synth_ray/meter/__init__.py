"""Meter: what was counted, how fast it was, what it cost.

In: events of the driver and figures of engines. Out: the tally and how it comes on, replica-seconds and dollars, tokens per
second and the roofline, metrics and traces of the run for whoever watches many.
Law: it observes and never steers a row; a budget is the one thing it may stop a run by. Not: drawing any of it (report).

Public: `tally.Tally`, `pace.Pace`, `spending.Spending`, `costs.CostRecords`, `throughput.Throughput`, `timeline.Timeline`,
`roofline.roofline`, `waits.seconds_by_wait`, `metrics.Readings`, `telemetry.telemetry_of`.
"""
