"""Draw docs/benchmarks.svg from bench/results/: our bars beside the peers' of the same run. Run: python -m bench.chart."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from bench.results import RESULTS

CHART = Path(__file__).parent.parent / "docs" / "benchmarks.svg"
WIDTH, LABELS, VALUES, ROW, HEAD, MARGIN = 860, 245, 155, 26, 62, 24  # pixels
STYLE = """
    text { font: 13px system-ui, sans-serif; fill: #1f2328 }
    .title { font-weight: 600; font-size: 15px } .unit { fill: #59636e; font-size: 12px }
    .page { fill: #ffffff; stroke: #d1d9e0 } .ours { fill: #0f766e } .peer { fill: #a3adb8 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 } .unit { fill: #9ba6b1 } .page { fill: #161b22; stroke: #3d444d }
      .ours { fill: #2dd4bf } .peer { fill: #6b7683 }
    }
"""

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Bar:
    label: str
    value: float
    note: str
    is_ours: bool


@dataclass(frozen=True, slots=True)
class Panel:
    """Bars on one scale that begins at 0; more is better."""

    title: str
    unit: str
    bars: Sequence[Bar]


def main() -> None:
    CHART.write_text(drawing(), encoding="utf-8")
    print(CHART)


def drawing() -> str:
    """The whole chart as SVG text; it depends on the result files alone."""
    panels = [throughput(rows("throughput")), dedup(rows("dedup"))]
    panels += [scrub(rows("scrub"), kind) for kind in ("dense chat of about 200 words", "sparse chat")]
    top, parts = MARGIN, []
    for panel in panels:
        parts += panel_lines(panel, top)
        top += HEAD + ROW * len(panel.bars)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" role="img" aria-labelledby="title">'
    title = '<title id="title">Benchmarks: synth_ray beside its peers; the figures are on docs/benchmarks.md</title>'
    page = f'<rect class="page" x="0.5" y="0.5" width="{WIDTH - 1}" height="{top - 1}" rx="8"/>'
    return "\n".join([head, title, f"<style>{STYLE}</style>", page, *parts, "</svg>", ""])


def rows(name: str) -> Rows:
    result_rows: Rows = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["rows"]
    return result_rows


def throughput(results: Rows) -> Panel:
    first, our_labels = results[0], {"route, Ray": "synth_ray on Ray", "route, threads": "synth_ray on threads"}
    bars = [
        Bar(
            our_labels.get(row["scheme"], row["scheme"]),
            row["tokens/s, median"],
            f"× {row['÷ raw, median']:.2f}",
            row["scheme"] in our_labels,
        )
        for row in results
    ]
    unit = f"tokens a second, median of {first['pairs']} rounds of {first['prompts']:,} prompts, real engine on the CPU; "
    return Panel("One engine, asked in different ways", f"{unit}× beside {first['scheme']}", bars)


def dedup(results: Rows) -> Panel:
    """Peers' rows have microseconds a text and F1; ours have texts a second, and precision, recall and F1."""
    by_figure = {row["figure"]: row for row in results}
    f1 = by_figure["t=0.8: precision, recall, F1"]["here"].split()[-1]
    bars = [Bar("synth_ray, exact verification", by_figure["t=0.8: texts/s, one core"]["here"], f"F1 {f1}", True)]
    for figure, row in by_figure.items():
        name, is_peer, _ = figure.partition(": ours is faster by")
        if is_peer:
            cost, _, quality = row["beside"].partition(" µs, ")
            bars.append(Bar(name, 1e6 / float(cost), quality, False))
    return Panel("Near-duplicates at a similarity of 0.8", "texts a second on one core; F1 against planted duplicates", bars)


def scrub(results: Rows, kind: str) -> Panel:
    row = next(row for row in results if row["figure"] == f"texts/s, {kind}")
    ratio, _, exact_ratio = row["beside"].rstrip(")").partition(" (exact ")
    bars = [
        Bar("synth_ray", row["scrub"], ratio, True),
        Bar("synth_ray, exactly stock's findings", row["exact path"], exact_ratio, True),
        Bar("Presidio, stock", row["stock Presidio"], "", False),
    ]
    return Panel(f"Scrubbing: {kind}", "texts a second on one core; × beside stock Presidio", bars)


def panel_lines(panel: Panel, top: int) -> list[str]:
    maximum = max(bar.value for bar in panel.bars)
    lines = [text(MARGIN, top + 14, panel.title, "title"), text(MARGIN, top + 32, f"{panel.unit}; more is better", "unit")]
    for place, bar in enumerate(sorted(panel.bars, key=lambda bar: -bar.value)):
        lines += bar_lines(bar, maximum, top + 42 + ROW * place)
    return lines


def bar_lines(bar: Bar, maximum: float, top: int) -> list[str]:
    left = MARGIN + LABELS
    width = max(1.0, bar.value / maximum * (WIDTH - left - VALUES - MARGIN))
    kind = "ours" if bar.is_ours else "peer"
    return [
        text(MARGIN, top + 15, bar.label),
        f'<rect class="{kind}" x="{left}" y="{top + 2}" width="{width:.1f}" height="{ROW - 8}" rx="2"/>',
        text(left + round(width) + 8, top + 15, " · ".join(filter(None, (f"{bar.value:,.0f}", bar.note)))),
    ]


def text(x: int, y: int, words: str, kind: str = "") -> str:
    return f'<text x="{x}" y="{y}"' + (f' class="{kind}"' if kind else "") + f">{escape(words)}</text>"


if __name__ == "__main__":
    main()
