"""The chart of the benchmarks shows what the benchmarks said."""

from __future__ import annotations

import re

from bench.chart import CHART, drawing, rows
from tests.house.test_house import ROOT


def test_the_committed_chart_is_drawn_from_the_committed_results() -> None:
    assert CHART.read_text(encoding="utf-8") == drawing(), (
        "docs/benchmarks.svg is not of bench/results/: run `make docs-reference`"
    )


def test_the_chart_shows_every_peer_with_its_own_figure() -> None:
    labels = re.findall(r"<text[^>]*>([^<]+)</text>", drawing())
    for row in rows("throughput"):
        assert any(label.startswith(f"{row['tokens/s, median']:,} · × {row['÷ raw, median']:.2f}") for label in labels)
    for row in rows("dedup"):
        if "ours is faster by" in row["figure"]:
            assert any(label.endswith(row["beside"].partition(" µs, ")[2]) for label in labels)
    for row in rows("scrub")[:2]:
        assert {f"{row['stock Presidio']:,}", f"{row['scrub']:,} · {row['beside'].partition(' (')[0]}"} <= set(labels)


def test_the_page_shows_the_chart_and_names_only_commands_that_exist() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert "](benchmarks.svg)" in page
    for name in re.findall(r"make bench-([a-z_]+)|python -m bench\.([a-z_]+)", page):
        assert (ROOT / "bench" / f"{''.join(name)}.py").is_file()
