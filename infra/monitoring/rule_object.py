"""Writes prometheusrule.yaml beside it: alerts.yaml for the Prometheus operator. Run after a change of alerts.yaml."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
HEAD = """\
# Written by rule_object.py from alerts.yaml: do not edit.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: synth-ray
  labels:
    release: prometheus
spec:
"""


def text() -> str:
    """The groups as they are, two spaces further in."""
    lines = (FOLDER / "alerts.yaml").read_text().splitlines()
    groups = lines[lines.index("groups:") :]
    return HEAD + "".join(f"  {line}\n" for line in groups)


if __name__ == "__main__":
    (FOLDER / "prometheusrule.yaml").write_text(text())
