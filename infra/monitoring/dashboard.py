"""Writes grafana-dashboard.json beside it. Run after a change here: python infra/monitoring/dashboard.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "grafana-dashboard.json"
UID = "synth-ray"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24
JOB = 'job_name=~"$job"'


def metric(name: str, **labels: str) -> str:
    """A metric of the chosen jobs. Several drivers of one job overlap for seconds when a run goes on: take `max by`, not sums."""
    chosen = ",".join([JOB, *(f'{label}="{value}"' for label, value in labels.items())])
    return f"ray_synth_ray_{name}{{{chosen}}}"


def newest(name: str, *by: str, **labels: str) -> str:
    return f"max by ({', '.join(('job_name', *by))}) ({metric(name, **labels)})"


@dataclass(frozen=True)
class Panel:
    """`queries`: an expression and the legend of its series."""

    title: str
    text: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 8
    height: int = 8
    stacked: bool = False
    most: float | None = None


def stat(title: str, text: str, expression: str, unit: str = "short", legend: str = "{{job_name}}") -> Panel:
    return Panel(title, text, ((expression, legend),), kind="stat", unit=unit, width=4, height=4)


AGE = "time() - {}"
FAILED_SHARE = f"{newest('rows', verdict='failed')} / on (job_name) clamp_min(sum by (job_name) ({newest('rows', 'verdict')}), 1)"

ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Now",
        (
            stat("Running", "The jobs whose driver runs.", f"sum({newest('active')})", legend="jobs"),
            stat("Stage", "What each job does now.", f"{newest('stage', 'stage')} == 1", legend="{{job_name}}: {{stage}}"),
            stat("Done", "Of the plan or of the target, earlier runs included.", newest("done_share"), "percentunit"),
            stat("Time left", "At the pace of the last minute.", newest("eta_seconds"), "s"),
            stat("Failed rows", "Share of the admitted rows that got no answer.", FAILED_SHARE, "percentunit"),
            stat(
                "Driver last heard",
                "Seconds since the driver wrote its metrics: more than 30 only while it publishes.",
                AGE.format(newest("updated_timestamp_seconds")),
                "s",
            ),
        ),
    ),
    (
        "Why is it slow?",
        (
            Panel(
                "Where the time goes",
                "full: the models set the pace, and only more or faster replicas help. Everything else is time in which replicas "
                "could have run more; docs/cluster/watching.md says what to do about each.",
                ((f"avg by (wait) (deriv({metric('wait_seconds')}[$__rate_interval]))", "{{wait}}"),),
                unit="percentunit",
                width=16,
                stacked=True,
                most=1.0,
            ),
            Panel(
                "Since a chunk was last admitted",
                "It climbs while the oldest chunk waits for its slowest answers, and falls when that chunk is admitted.",
                ((AGE.format(newest("frontier_timestamp_seconds")), "{{job_name}}"),),
                unit="s",
            ),
            Panel(
                "Requests",
                "In flight on replicas, and queued in the driver. No queue and few in flight: the plan is at its end, or held.",
                (
                    (newest("requests", state="in_flight"), "in flight {{job_name}}"),
                    (newest("requests", state="queued"), "queued {{job_name}}"),
                ),
            ),
            Panel(
                "Answers in the driver's memory",
                "Held until their chunk is complete; limits.waiting_bytes is the most.",
                ((newest("waiting_bytes"), "{{job_name}}"),),
                unit="bytes",
            ),
            Panel(
                "Time by stage",
                "Seconds spent in preparing, generating and publishing.",
                ((newest("stage_seconds", "stage"), "{{stage}} {{job_name}}"),),
                unit="s",
            ),
        ),
    ),
    (
        "Rows",
        (
            Panel(
                "Rows by verdict",
                "Slots of admitted chunks, and the rows that a target wants.",
                ((newest("rows", "verdict"), "{{verdict}} {{job_name}}"), (newest("rows_wanted"), "wanted {{job_name}}")),
            ),
            Panel(
                "Why rows are not accepted",
                "Each reason is explained in docs/reference/reasons.md.",
                ((f"sort_desc({newest('rows_by_reason', 'verdict', 'reason')})", "{{verdict}}: {{reason}}"),),
                kind="bargauge",
            ),
            Panel(
                "Chunks",
                "Planned, committed to the store, admitted in order. A gap between committed and admitted is the oldest chunk.",
                ((newest("chunks", "state"), "{{state}} {{job_name}}"),),
            ),
            Panel(
                "Requests done",
                "Of those planned; a target has no planned number.",
                (
                    (newest("requests", state="planned"), "planned {{job_name}}"),
                    (newest("requests", state="done"), "done {{job_name}}"),
                ),
            ),
        ),
    ),
    (
        "Replicas",
        (
            Panel(
                "Replicas",
                "Up, starting and lost so far, by role.",
                ((newest("replicas", "role", "state"), "{{role}} {{state}} {{job_name}}"),),
            ),
            Panel(
                "Running by replica",
                "Sequences in each engine. One that is lower than the others is slow or starved.",
                ((newest("replica_running", "role", "replica"), "{{role}} {{replica}} {{job_name}}"),),
            ),
            Panel(
                "Waiting by replica",
                "Sequences that an engine has and cannot run yet: its KV cache or max_num_seqs is full.",
                ((newest("replica_waiting", "role", "replica"), "{{role}} {{replica}} {{job_name}}"),),
            ),
            Panel(
                "Tokens per second",
                "Of all replicas together.",
                ((newest("tokens_per_second", "kind"), "{{kind}} {{job_name}}"),),
            ),
            Panel(
                "Tokens per second by replica",
                "Generated tokens of each teacher.",
                ((newest("replica_tokens_per_second", "role", "replica"), "{{role}} {{replica}} {{job_name}}"),),
            ),
        ),
    ),
    (
        "Cost",
        (
            Panel(
                "Dollars",
                "Spent by all runs of the output, what it will come to, and budget.max_usd.",
                (
                    (newest("usd"), "spent {{job_name}}"),
                    (newest("usd_expected"), "at the end {{job_name}}"),
                    (newest("usd_budget"), "budget {{job_name}}"),
                ),
                unit="currencyUSD",
            ),
            Panel(
                "Replica time",
                "Replica-seconds of all runs of the output: what the price is multiplied with.",
                ((newest("replica_seconds"), "{{job_name}}"),),
                unit="s",
            ),
            Panel("Tokens", "Spent by this run.", ((newest("tokens", "kind"), "{{kind}} {{job_name}}"),)),
        ),
    ),
    (
        "Driver and store",
        (
            Panel(
                "Store requests",
                "Of the driver's process: retries mean that the store is slow, throttles or is not reached.",
                ((newest("store_calls", "outcome"), "{{outcome}} {{job_name}}"),),
                width=12,
            ),
            Panel(
                "Index",
                "Memory of the index against which rows are compared; it grows with accepted rows.",
                ((newest("index_bytes"), "{{job_name}}"),),
                unit="bytes",
                width=12,
            ),
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    return {
        "uid": UID,
        "title": "synth_ray",
        "description": "Jobs of synth_ray on Ray: how far, how fast, why slow, what it costs.",
        "tags": ["synth_ray", "ray"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "",
        "graphTooltip": 1,
        "annotations": {"list": []},
        "links": [],
        "templating": {"list": _variables()},
        "panels": list(_placed()),
    }


def _variables() -> list[dict[str, Any]]:
    names = "label_values(ray_synth_ray_updated_timestamp_seconds, job_name)"
    return [
        {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0},
        {
            "name": "job", "label": "Job", "type": "query", "datasource": SOURCE, "definition": names,
            "query": {"query": names, "refId": "jobs"}, "refresh": 2, "sort": 1, "multi": True, "includeAll": True,
            "allValue": ".*", "current": {"text": "All", "value": "$__all"},
        },
    ]  # fmt: skip


def _placed() -> Iterator[dict[str, Any]]:
    """Panels from left to right, a new line where the next does not fit; a heading above each group."""
    number, y = 1, 0
    for heading, panels in ROWS:
        yield {"id": number, "type": "row", "title": heading, "collapsed": False, "panels": [], "gridPos": _at(0, y, WIDTH, 1)}
        number, y, x, line = number + 1, y + 1, 0, 0
        for panel in panels:
            if x + panel.width > WIDTH:
                x, y, line = 0, y + line, 0
            yield _panel(panel, number, _at(x, y, panel.width, panel.height))
            number, x, line = number + 1, x + panel.width, max(line, panel.height)
        y += line


def _at(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    is_instant = panel.kind in ("stat", "bargauge")
    targets = [
        {"refId": chr(ord("A") + n), "datasource": SOURCE, "expr": expression, "legendFormat": legend}
        | ({"instant": True, "range": False} if is_instant else {"range": True})
        for n, (expression, legend) in enumerate(panel.queries)
    ]
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.most is not None:
        defaults["max"] = panel.most
    if panel.kind == "timeseries":
        filled = {"fillOpacity": 60, "stacking": {"mode": "normal", "group": "A"}} if panel.stacked else {"fillOpacity": 8}
        defaults["custom"] = {"drawStyle": "line", "lineWidth": 1, "showPoints": "never", **filled}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": SOURCE,
        "gridPos": place,
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _options(panel, is_name=panel.title == "Stage"),
    }


def _options(panel: Panel, *, is_name: bool) -> dict[str, Any]:
    if panel.kind == "timeseries":
        return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}
    reduce = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    if panel.kind == "bargauge":
        return {"orientation": "horizontal", "displayMode": "basic", "reduceOptions": reduce}
    return {"reduceOptions": reduce, "colorMode": "none", "graphMode": "none", "textMode": "name" if is_name else "auto"}


def text() -> str:
    return json.dumps(dashboard(), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
