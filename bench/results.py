"""Report the figures of a benchmark: a printed table, and a JSON file with the command and the versions."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


def report(
    name: str, rows: Sequence[dict[str, Any]], *, packages: Sequence[str] = (), file: str | None = None, adds: bool = False
) -> None:
    """Print the rows as a table and write `results/NAME.json`, or `results/FILE.json`; an empty FILE writes nothing. `adds`:
    beside the runs that are there, for machines that are not at hand again.
    """
    table = Table(title=f"make bench-{name}", title_justify="left")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    for column in columns:
        table.add_column(column, justify="left" if column == columns[0] else "right")
    for row in rows:
        table.add_row(*(_shown(row.get(column, "")) for column in columns))
    Console(width=140).print(table)
    document = {"command": _command(name), "machine": _machine(), "versions": _versions(packages), "rows": list(rows)}
    if file == "":
        return
    path = RESULTS / f"{file or name}.json"
    if adds:
        runs = json.loads(path.read_text(encoding="utf-8"))["runs"] if path.is_file() else []
        document = {"runs": [*runs, document]}
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")


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
    facts = {"cores": os.cpu_count(), "cpu": _cpu(), "machine": platform.machine(), "python": platform.python_version()}
    return facts | ({"cards": found} if (found := cards()) else {})


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def cards() -> list[dict[str, str]]:
    """The GPUs of this machine as their driver tells them, with their memory; none where it has none."""
    told = _nvidia_smi("--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
    cuda = re.search(r"CUDA Version: (\S+)", _nvidia_smi()) if told else None
    names = ("name", "memory", "driver")
    rows = [dict(zip(names, map(str.strip, line.split(",")), strict=True)) for line in told.splitlines()]
    return [row | {"cuda": cuda[1] if cuda else "unknown"} for row in rows]


def _nvidia_smi(*options: str) -> str:
    tool = shutil.which("nvidia-smi")
    said = subprocess.run([tool, *options], capture_output=True, text=True, timeout=60, check=False) if tool else None
    return said.stdout if said is not None and said.returncode == 0 else ""


def _versions(packages: Sequence[str]) -> dict[str, str]:
    versions = {}
    for package in ("synth-ray", *packages):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions
