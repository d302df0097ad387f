"""Report the figures of a benchmark: a printed table, and a JSON file with the command and the versions."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


def report(name: str, rows: Sequence[dict[str, Any]], *, packages: Sequence[str] = ()) -> None:
    """Print the rows as a table and write `results/NAME.json`."""
    table = Table(title=f"make bench-{name}", title_justify="left")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    for column in columns:
        table.add_column(column, justify="left" if column == columns[0] else "right")
    for row in rows:
        table.add_row(*(_shown(row.get(column, "")) for column in columns))
    Console(width=140).print(table)
    document = {"command": _command(name), "machine": _machine(), "versions": _versions(packages), "rows": list(rows)}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")


def _command(name: str) -> str:
    return " ".join(("python -m", f"bench.{name}", *sys.argv[1:])) if sys.argv[1:] else f"make bench-{name}"


class Moments:
    """The times, in seconds of the monotonic clock, when each condition on the tally first became true. Pass it as `watch`."""

    def __init__(self, **conditions: Callable[[Any], Any]) -> None:
        self._conditions = conditions
        self.at: dict[str, float] = {}

    def __call__(self, tally: Any) -> None:
        for name, condition in self._conditions.items():
            if name not in self.at and condition(tally):
                self.at[name] = time.monotonic()


def _shown(value: Any) -> str:
    return (
        f"{value:,.3g}"
        if isinstance(value, float) and abs(value) < 1000
        else f"{value:,.0f}"
        if isinstance(value, float)
        else str(value)
    )


def _machine() -> dict[str, Any]:
    return {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}


def _versions(packages: Sequence[str]) -> dict[str, str]:
    versions = {}
    for package in ("synth-ray", *packages):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions
