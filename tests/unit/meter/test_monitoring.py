"""What lies in infra/monitoring: every expression is one, and names what a run exports; everything exported can be seen."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from synth_ray.meter.metrics import BY_NAME, JOB_LABEL, METRICS, PREFIX
from synth_ray.meter.waits import Wait
from tests.conftest import ROOT

FOLDER = ROOT / "infra" / "monitoring"
WATCHING = ROOT / "docs" / "cluster" / "watching.md"
EXPORTED = {f"ray_{PREFIX}{metric.name}" for metric in METRICS}
KUBECTL = shutil.which("kubectl")
PROMTOOL = os.environ.get("PROMTOOL") or shutil.which("promtool")


def dashboard() -> dict[str, Any]:
    return dict(json.loads((FOLDER / "grafana-dashboard.json").read_text()))


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def without_variables(expression: str) -> str:
    """As Grafana fills it in."""
    return expression.replace("$__rate_interval", "1m").replace("$job", ".*")


def panel_expressions() -> list[str]:
    return [without_variables(target["expr"]) for panel in panels() for target in panel["targets"]]


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def selectors(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Each metric of an expression, and the labels it is chosen by."""
    promql_parser.parse(expression)
    for name, labels in re.findall(r"(ray_\w+)(?:\{([^}]*)\})?", expression):
        yield name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", labels))


def test_expressions_name_what_is_exported_by_labels_that_it_has() -> None:
    for expression in [*panel_expressions(), *(rule["expr"] for rule in rules())]:
        for name, labels in selectors(expression):
            assert name in EXPORTED, expression
            assert labels <= {JOB_LABEL, *BY_NAME[name.removeprefix(f"ray_{PREFIX}")].labels}, expression
        for by in re.findall(r"by \(([^)]*)\)", expression):
            known = {JOB_LABEL, *(label for metric in METRICS for label in metric.labels)}
            assert set(by.split(", ")) <= known, expression


def test_a_broken_expression_is_refused() -> None:
    with pytest.raises(ValueError):
        promql_parser.parse("max by (job_name (ray_synth_ray_rows)")


def test_every_metric_is_on_a_panel() -> None:
    shown = {name for expression in panel_expressions() for name, _ in selectors(expression)}
    assert shown == EXPORTED


@pytest.mark.parametrize(("script", "written"), [("dashboard", "grafana-dashboard.json"), ("rule_object", "prometheusrule.yaml")])
def test_a_written_file_is_what_its_generator_writes(script: str, written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location(script, FOLDER / f"{script}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, script, module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    assert (FOLDER / written).read_text() == module.text(), f"run: python infra/monitoring/{script}.py"


def test_the_dashboard_can_be_imported_anywhere_and_its_panels_do_not_overlap() -> None:
    board = dashboard()
    assert board["uid"] == "synth-ray" and "id" not in board
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource" and variables["job"]["datasource"]["uid"] == "${datasource}"
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
    for panel in panels():
        assert panel["description"] and panel["datasource"]["uid"] == "${datasource}"
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_each_alert_says_how_bad_it_is_and_what_to_do() -> None:
    text = WATCHING.read_text()
    for rule in rules():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert (
            set(rule["annotations"]) == {"summary", "description", "runbook"}
            and "$labels.job_name" in rule["annotations"]["summary"]
        )
        assert rule["annotations"]["runbook"] == f"docs/cluster/watching.md#{rule['alert'].lower()}"
        assert f"### {rule['alert']}\n" in text
    tested = yaml.safe_load((FOLDER / "alerts_test.yaml").read_text())["tests"]
    fired = {case["alertname"] for test in tested for case in test["alert_rule_test"] if case["exp_alerts"]}
    assert fired == {rule["alert"] for rule in rules()}


def test_the_page_explains_every_metric_and_every_wait() -> None:
    text = WATCHING.read_text()
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        assert f"| `{metric.name}` | {labels} | {metric.help} |" in text, metric.name
    assert all(f"| `{wait.value}` |" in text for wait in Wait)


def test_scrape_configurations_reach_ray() -> None:
    monitor = yaml.safe_load((FOLDER / "podmonitor.yaml").read_text())
    assert (monitor["apiVersion"], monitor["kind"]) == ("monitoring.coreos.com/v1", "PodMonitor")
    assert [end["port"] for end in monitor["spec"]["podMetricsEndpoints"]] == ["metrics", "as-metrics", "dash-metrics"]
    prometheus = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())
    assert prometheus["global"]["scrape_interval"] == "10s" == monitor["spec"]["podMetricsEndpoints"][0]["interval"]
    from ray._private.ray_constants import PROMETHEUS_SERVICE_DISCOVERY_FILE

    files = prometheus["scrape_configs"][0]["file_sd_configs"][0]["files"]
    assert [Path(file).name for file in files] == [PROMETHEUS_SERVICE_DISCOVERY_FILE]


def test_the_operator_gets_the_same_rules_and_grafana_the_same_dashboard() -> None:
    rule = yaml.safe_load((FOLDER / "prometheusrule.yaml").read_text())
    assert (rule["apiVersion"], rule["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert rule["spec"] == yaml.safe_load((FOLDER / "alerts.yaml").read_text())
    together = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    assert all((FOLDER / name).is_file() for name in together["resources"])
    assert together["configMapGenerator"][0]["files"] == ["grafana-dashboard.json"]


@pytest.mark.skipif(KUBECTL is None, reason="NOT CHECKED: no kubectl on PATH, so kustomization.yaml was not built")
def test_kustomize_builds_the_monitoring() -> None:
    done = subprocess.run([str(KUBECTL), "kustomize", str(FOLDER)], capture_output=True, text=True, timeout=60, check=True)
    objects = {object_["kind"]: object_ for object_ in yaml.safe_load_all(done.stdout)}
    assert set(objects) == {"ConfigMap", "PodMonitor", "PrometheusRule"}
    assert json.loads(objects["ConfigMap"]["data"]["grafana-dashboard.json"]) == dashboard()
    assert objects["ConfigMap"]["metadata"]["labels"] == {"grafana_dashboard": "1"}


@pytest.mark.skipif(PROMTOOL is None, reason="NOT CHECKED: no promtool on PATH or in PROMTOOL, so alerts_test.yaml did not run")
@pytest.mark.parametrize("command", [("test", "rules", "alerts_test.yaml"), ("check", "config", "prometheus.yaml")])
def test_promtool_accepts_the_rules_and_their_tests(command: tuple[str, ...]) -> None:
    done = subprocess.run([str(PROMTOOL), *command], cwd=FOLDER, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
